/// Moments at which an experiment is looked at, as numbers of requests: `count` of them from `first` to
/// `last`, each by the same factor later than the one before, as far as whole numbers allow.
pub fn spread(first: u64, last: u64, count: usize) -> Vec<u64> {
    let schedule = |factor: f64| {
        let later =
            move |look: &u64| Some(((*look as f64 * factor) as u64).max(look.saturating_add(1)));
        std::iter::successors(Some(first), later)
    };
    // A smaller factor takes more looks to get there.
    let (mut low, mut high) = (1.0, (last as f64 / first as f64).max(1.0 + 1e-9));
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        let reached = schedule(middle).take(count).last().unwrap_or(first) >= last;
        *(if reached { &mut high } else { &mut low }) = middle;
    }
    schedule(high).take(count).map(|look| look.min(last)).collect()
}

/// Moments that are by `step` apart, relative to the requests so far, from `first` to `last`.
pub fn relative(first: u64, last: u64, step: f64) -> impl Iterator<Item = u64> {
    let later =
        move |look: &u64| Some(((*look as f64 * (1.0 + step)) as u64).max(look.saturating_add(1)));
    std::iter::successors(Some(first), later).take_while(move |look| *look <= last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_looks_are_a_thousand_different_ones() {
        for (first, last) in [(50, 200_000), (400, 200_000), (20, 100_000)] {
            let looks = spread(first, last, 1_000);
            assert_eq!((looks.len(), looks[0]), (1_000, first));
            assert!(looks.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(looks[999] == last, "{}", looks[999]);
        }
    }
}
