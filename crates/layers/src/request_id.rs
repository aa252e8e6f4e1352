//! The ID of a request, which is what flags hash by default.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use latency_experiment_record::CompactId;
use xxhash_rust::xxh3::xxh3_128;

use crate::hex;

/// The ID of a request: by default 128 random bits, written as 32 lower-case hexadecimal digits;
/// the text that the client sent where its header is trusted (see
/// [`RequestIds`](crate::RequestIds)).
///
/// The text, which is what `Display` shows, is what flags hash.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Generated([u64; 2]),
    Sent(Arc<str>),
}

/// Where a thread's random bits come from. They have to be fast and evenly spread, not secret: a
/// request ID grants nothing.
struct Generator {
    /// State of the generator, which has a period of 2⁶⁴.
    state: Cell<u64>,
    /// What tells the thread's bits from those of another one that came by the same state; 0 before the
    /// generator is seeded.
    key: Cell<u64>,
}

thread_local! {
    static GENERATOR: Generator = const { Generator { state: Cell::new(0), key: Cell::new(0) } };
}

/// The 128 random bits of a new ID.
#[inline]
pub(crate) fn random_words() -> [u64; 2] {
    GENERATOR.with(|generator| {
        if generator.key.get() == 0 {
            generator.seed();
        }
        let mut random = fastrand::Rng::with_seed(generator.state.get());
        let words = [random.u64(..) ^ generator.key.get(), random.u64(..)];
        generator.state.set(random.get_seed());
        words
    })
}

impl Generator {
    #[cold]
    #[inline(never)]
    fn seed(&self) {
        // Random keys from the operating system, and another one each time.
        let random = RandomState::new();
        self.state.set(random.hash_one(0));
        self.key.set(random.hash_one(1).max(1));
    }
}

impl RequestId {
    /// A new ID. It allocates nothing.
    pub(crate) fn generate() -> Self {
        Self(Repr::Generated(random_words()))
    }

    /// The ID as records keep it.
    pub(crate) fn to_compact(&self) -> CompactId {
        match &self.0 {
            Repr::Generated(words) => CompactId::of_words(*words),
            Repr::Sent(text) => CompactId::of_text(text),
        }
    }

    /// The ID that a client sent.
    pub(crate) fn sent(text: &str) -> Self {
        Self(Repr::Sent(text.into()))
    }

    /// 128 bits that tell it from other IDs, and the text where a client sent it.
    #[inline]
    pub(crate) fn into_parts(self) -> ([u64; 2], Option<Arc<str>>) {
        match self.0 {
            Repr::Generated(words) => (words, None),
            Repr::Sent(text) => {
                let hash = xxh3_128(text.as_bytes());
                ([(hash >> 64) as u64, hash as u64], Some(text))
            }
        }
    }

    /// The ID that [`into_parts`](Self::into_parts) took apart.
    pub(crate) fn from_parts(words: [u64; 2], sent: Option<Arc<str>>) -> Self {
        Self(sent.map_or(Repr::Generated(words), Repr::Sent))
    }

    /// Runs `read` with the text of the ID.
    #[inline]
    pub(crate) fn with_text<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        match &self.0 {
            // Here the length of the text is known at compile time, so hashing it has no branches.
            Repr::Generated(words) => read(&hex::digits(*words)),
            Repr::Sent(text) => read(text.as_bytes()),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Generated([high, low]) => write!(f, "{high:016x}{low:016x}"),
            Repr::Sent(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_text_is_what_is_displayed() {
        let text_of =
            |id: RequestId| id.with_text(|text| String::from_utf8(text.to_vec()).unwrap());
        for words in [[0, 0], [u64::MAX; 2], [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]] {
            let id = RequestId(Repr::Generated(words));
            assert_eq!(text_of(id.clone()), id.to_string());
        }
        for _ in 0..1_000 {
            let id = RequestId::generate();
            assert_eq!((text_of(id.clone()), id.to_string().len()), (id.to_string(), 32));
        }
        assert_eq!(text_of(RequestId::sent("req-7")), "req-7");
    }

    #[test]
    fn generated_ids_do_not_repeat_over_threads() {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(|| {
                    (0..10_000).map(|_| RequestId::generate()).collect::<Vec<_>>()
                })
            })
            .collect();
        let ids: HashSet<_> =
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.len(), 40_000);
    }
}
