//! The ID of a request, which is what flags hash by default.

use std::cell::RefCell;
use std::fmt;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// 128 random bits, written as 32 lower-case hexadecimal digits. The text is what is hashed,
/// shown and logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(u128);

thread_local! {
    // Seeded from the operating system. It has to be fast and evenly spread, not secret: a request
    // ID grants nothing.
    static GENERATOR: RefCell<Option<SmallRng>> = const { RefCell::new(None) };
}

impl RequestId {
    /// A new ID. It allocates nothing.
    #[inline]
    pub(crate) fn generate() -> Self {
        let from_this_thread = GENERATOR.try_with(|generator| {
            generator
                .borrow_mut()
                .get_or_insert_with(|| SmallRng::from_rng(&mut rand::rng()))
                .random()
        });
        // While a thread is being torn down its generator is gone.
        Self(from_this_thread.unwrap_or_else(|_| rand::rng().random()))
    }

    /// The ID as its 32 digits.
    #[inline]
    pub fn to_text(self) -> [u8; 32] {
        let mut text = [0; 32];
        for (digits, shift) in text.chunks_exact_mut(8).zip([96, 64, 32, 0]) {
            digits.copy_from_slice(&hex_digits((self.0 >> shift) as u32));
        }
        text
    }
}

/// The eight hexadecimal digits of a word, all at once.
#[inline]
fn hex_digits(word: u32) -> [u8; 8] {
    // Spread the nibbles over the bytes of a u64, most significant first.
    let mut nibbles = u64::from(word);
    nibbles = (nibbles | (nibbles << 16)) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles | (nibbles << 8)) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles | (nibbles << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    // 1 in each byte whose nibble is above 9: those become letters, 39 further than the digits.
    let letters = ((nibbles + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (nibbles + 0x3030_3030_3030_3030 + letters * 39).to_be_bytes()
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
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

    #[test]
    fn the_text_is_what_is_displayed() {
        for bits in [0, u128::MAX, 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210] {
            assert_eq!(RequestId(bits).to_text(), *RequestId(bits).to_string().as_bytes());
        }
        for _ in 0..1_000 {
            let id = RequestId::generate();
            assert_eq!(id.to_text(), *id.to_string().as_bytes());
        }
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
        let mut ids: Vec<_> =
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).map(|id| id.0).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 40_000);
    }
}
