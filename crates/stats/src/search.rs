/// The smallest number in `0..=limit` for which `holds`, which is false below it and true from it on, or
/// `limit`.
///
/// Searches outward from `guess` in growing steps, then bisects.
pub(crate) fn first_true(guess: u64, limit: u64, mut holds: impl FnMut(u64) -> bool) -> u64 {
    let guess = guess.min(limit);
    let (mut low, mut high) = (0, limit);
    let mut step = 1;
    if holds(guess) {
        high = guess;
        while low < high {
            let probe = high.saturating_sub(step);
            if !holds(probe) {
                low = probe + 1;
                break;
            }
            high = probe;
            step *= 4;
        }
    } else {
        low = guess + 1;
        while low < high {
            let probe = low.saturating_add(step - 1).min(limit);
            if holds(probe) {
                high = probe;
                break;
            }
            low = probe + 1;
            step *= 4;
        }
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_finds_every_boundary_from_every_guess() {
        for boundary in 0..=70 {
            for guess in 0..=75 {
                assert_eq!(first_true(guess, 70, |k| k >= boundary), boundary, "guess {guess}");
            }
        }
    }
}
