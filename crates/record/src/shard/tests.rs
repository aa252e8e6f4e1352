//! A day under load.

use std::sync::atomic::AtomicUsize;
use std::thread;

use super::*;

/// A day of 100,000 requests per second.
const DAY: u64 = 24 * 60 * 60 * 100_000;
const VALUE_NS: u64 = 1_000_000;

/// One thread records a day of requests at 100,000 per second, all into one bucket, while another
/// one looks on; no count is ever lost, counted twice or seen to fall.
///
/// 8.64 billion increments take minutes one by one, so those that only add 1 to a cell are skipped:
/// a cell that holds c is set to c + n and the room to n less, which is what n increments leave
/// behind, and the sums of n values are added where full sums go. Everything else is real: the last
/// eight increments before each end of the room, what is spilled there, the eight after it, and looking
/// on meanwhile. The bucket goes round its 32 bits as often as it does on such a day.
#[test]
fn a_day_of_100_000_requests_per_second_loses_no_count() {
    const NEAR: u64 = 8;
    let shard = Shard::new(Box::leak(Box::new(PageBudget(AtomicU64::new(1)))));
    let series = SeriesId(0);
    let looks = AtomicUsize::new(0);
    let square = u128::from(VALUE_NS) * u128::from(VALUE_NS);
    let (octave, offset) =
        (layout::index_of(VALUE_NS) / PAGE_BUCKETS, layout::index_of(VALUE_NS) % PAGE_BUCKETS);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = 0;
            while last < DAY {
                let count = count(&shard, series);
                assert!(last <= count && count <= DAY, "{count} after {last}");
                last = count;
                looks.fetch_add(1, Relaxed);
            }
        });
        let mut left = DAY;
        while left > 0 {
            for _ in 0..left.min(2 * NEAR) {
                shard.record(series, Sample::of(VALUE_NS));
                left -= 1;
            }
            let looked = looks.load(Relaxed);
            while looks.load(Relaxed) < looked + 2 && left > 0 {
                thread::yield_now();
            }
            let cells = shard.series.get(0).unwrap();
            let cell = &cells.pages[octave].get().unwrap().0[offset];
            let holds = cell.load(Relaxed);
            let room = cells.room.load(Relaxed);
            let skipped = left.min(u64::from(room).saturating_sub(NEAR));
            cell.store(holds + skipped as u32, Release);
            cells.room.store(room - skipped as u32, Relaxed);
            let (sum, times) = (u128::from(skipped * VALUE_NS), u128::from(skipped));
            shard.lock_spill().entry(series.0).or_default().add_sums(sum, Some(square * times));
            left -= skipped;
        }
    });
    assert_eq!(count(&shard, series), DAY);
    let spilled = shard.lock_spill()[&series.0].page(octave).unwrap()[offset];
    assert_eq!(spilled, 2 * ((1 << 32) - u64::from(MAX_ROOM)), "the cell was full twice");
    let (sums, _) = shard.read(series).unwrap().end();
    let day = u128::from(DAY);
    assert_eq!((sums.sum, sums.sum_sq), (Some(u128::from(VALUE_NS) * day), Some(square * day)));
}

/// Each sum grows by at most 2⁴¹ per value, and is looked at before as many values have come that it
/// could overflow; those of the longest latencies are spilled in time.
#[test]
fn sums_of_the_longest_latencies_do_not_overflow() {
    const LONGEST: u64 = (1 << 36) - 1;
    let shard = Shard::new(Box::leak(Box::new(PageBudget(AtomicU64::new(1)))));
    let series = SeriesId(0);
    let mut recorded = 0u128;
    for _ in 0..4 {
        for _ in 0..2 {
            shard.record(series, Sample::of(LONGEST));
            recorded += 1;
        }
        // As many more as fit before the next look.
        let cells = shard.series.get(0).unwrap();
        let more = u64::from(cells.room.swap(0, Relaxed));
        let page = cells.pages[layout::index_of(LONGEST) / PAGE_BUCKETS].get().unwrap();
        let cell = &page.0[layout::index_of(LONGEST) % PAGE_BUCKETS];
        cell.store(cell.load(Relaxed) + more as u32, Relaxed);
        let square = u128::from(LONGEST) * u128::from(LONGEST);
        let added = [LONGEST, square as u64 & LOW, (square >> 32) as u64];
        for (sum, value) in
            [&cells.sum, &cells.sum_sq_low, &cells.sum_sq_high].into_iter().zip(added)
        {
            let sum_after =
                value.checked_mul(more).and_then(|more| sum.load(Relaxed).checked_add(more));
            sum.store(sum_after.expect("what there is room for fits"), Relaxed);
        }
        recorded += u128::from(more);
    }
    assert_eq!(u128::from(count(&shard, series)), recorded);
    let (sums, _) = shard.read(series).unwrap().end();
    let longest = u128::from(LONGEST);
    assert_eq!(
        (sums.sum, sums.sum_sq),
        (Some(longest * recorded), Some(longest * longest * recorded))
    );
    assert!(shard.lock_spill()[&series.0].sums().sum_sq > Some(0), "they were spilled");
}

fn count(shard: &Shard, series: SeriesId) -> u64 {
    let Some(reading) = shard.read(series) else { return 0 };
    let cells: u64 = (0..PAGES).filter_map(|octave| reading.page(octave)).flatten().sum();
    let spilled = (0..PAGES).filter_map(|octave| reading.spilled()?.page(octave)).flatten();
    cells + spilled.sum::<u64>()
}
