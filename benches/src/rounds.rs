//! Two threads that work at the same time, and how much they hinder each other.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crate::clock;
use crate::span::Span;

/// Work for a thread of its own: repeats what it does so many times.
pub type Work = Box<dyn FnMut(u64) + Send>;

/// How much more two threads get done than one.
#[derive(Clone, Copy, Debug)]
pub struct Scaling {
    /// Nanoseconds per repetition of one thread while the other one waits.
    pub alone_ns: f64,
    /// Nanoseconds per repetition and thread of two threads.
    pub together_ns: f64,
    /// Rounds in which the two really worked at the same time.
    pub kept_rounds: usize,
}

impl Scaling {
    /// Twice the work per thread: 2 is perfect. `None` when the machine was too busy to let two
    /// threads work undisturbed at the same time.
    pub fn factor(self) -> Option<f64> {
        (self.kept_rounds >= ENOUGH).then(|| 2.0 * self.alone_ns / self.together_ns)
    }
}

/// Length of a round. Short, so that many of them run undisturbed on a busy machine.
const ROUND: Duration = Duration::from_micros(400);
/// Share of the longer thread's time during which both must have worked.
const OVERLAP: f64 = 0.95;
/// Undisturbed rounds without which nothing is said.
const ENOUGH: usize = 8;

/// Measures two pieces of work, each alone and both together, in so many rounds.
///
/// A round counts only when nothing else took the processor away, and one together only when the
/// two threads worked at the same time. The lower quartile of the rounds stands for all of them:
/// whatever else the machine does can only slow a round down, while the very best round may be a
/// lucky one, in which the two happened not to meet.
///
/// # Panics
///
/// When the work does.
pub fn scaling(rounds: usize, make: impl Fn(usize) -> Work) -> Scaling {
    let [mut first, mut second] = [make(0), make(1)];
    let count = calibrate(&mut first);
    let meeting = Meeting::default();
    let (a, b) = thread::scope(|scope| {
        let other = scope.spawn(|| run(&mut second, 1, count, rounds, &meeting));
        (run(&mut first, 0, count, rounds, &meeting), other.join().expect("work does not panic"))
    });
    let per_repetition = |took: Duration| took.as_secs_f64() * 1e9 / count as f64;
    let alone = a.alone.iter().chain(&b.alone).filter(|span| span.is_undisturbed());
    let alone = alone.map(|span| per_repetition(span.length()));
    let together = a.together.iter().zip(&b.together).filter_map(|(a, b)| {
        let (longer, sum) = (a.length().max(b.length()), a.length() + b.length());
        let overlap = a.shared(*b).as_secs_f64() >= OVERLAP * longer.as_secs_f64();
        (overlap && a.is_undisturbed() && b.is_undisturbed()).then(|| per_repetition(sum / 2))
    });
    let together: Vec<_> = together.collect();
    Scaling {
        alone_ns: lower_quartile(alone.collect()),
        kept_rounds: together.len(),
        together_ns: lower_quartile(together),
    }
}

/// The lower quartile of some times; infinite when there are none.
pub(crate) fn lower_quartile(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() / 4).copied().unwrap_or(f64::INFINITY)
}

/// What one thread measured.
#[derive(Default)]
struct Spans {
    alone: Vec<Span>,
    together: Vec<Span>,
}

/// The rounds of one thread: the first one works alone, the second one does, then both do.
fn run(work: &mut Work, me: usize, count: u64, rounds: usize, meeting: &Meeting) -> Spans {
    let mut spans = Spans::default();
    work(count);
    for _ in 0..rounds {
        for turn in 0..2 {
            meeting.wait();
            if turn == me {
                spans.alone.push(Span::of(|| work(count)));
            }
        }
        meeting.wait();
        spans.together.push(Span::of(|| work(count)));
    }
    spans
}

/// A barrier for two that does not sleep, so that both go on at the same moment.
#[derive(Default)]
struct Meeting(AtomicUsize);

impl Meeting {
    fn wait(&self) {
        let arrived = self.0.fetch_add(1, SeqCst) + 1;
        let everybody = arrived.next_multiple_of(2);
        let mut spins = 0u32;
        while self.0.load(SeqCst) < everybody {
            spins += 1;
            if spins.is_multiple_of(1 << 12) {
                thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}

/// How often the work fits into a round, after enough of it to be warm.
fn calibrate(work: &mut Work) -> u64 {
    let mut count = 64;
    loop {
        let took = clock::time(|| work(count));
        if took >= ROUND / 4 {
            return (count as f64 * ROUND.as_secs_f64() / took.as_secs_f64()) as u64 + 1;
        }
        count *= 2;
    }
}
