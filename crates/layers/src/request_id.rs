//! The ID of a request, which is what flags hash by default.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use latency_experiment_record::CompactId;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

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
            let mut generator = generator.borrow_mut();
            let generator = generator.get_or_insert_with(|| SmallRng::from_rng(&mut rand::rng()));
            [generator.random(), generator.random()]
        });
        // While a thread is being torn down its generator is gone.
        Self(Repr::Generated(from_this_thread.unwrap_or_else(|_| rand::rng().random())))
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

    /// The text of the ID. `digits` is where that of a generated one is written.
    #[inline]
    pub(crate) fn text<'a>(&'a self, digits: &'a mut [u8; 32]) -> &'a [u8] {
        match &self.0 {
            Repr::Generated(words) => {
                *digits = to_digits(*words);
                digits
            }
            Repr::Sent(text) => text.as_bytes(),
        }
    }
}

#[inline]
fn to_digits([high, low]: [u64; 2]) -> [u8; 32] {
    let mut digits = [0; 32];
    let words = [high >> 32, high, low >> 32, low];
    for (eight, word) in digits.chunks_exact_mut(8).zip(words) {
        eight.copy_from_slice(&hex_digits(word as u32));
    }
    digits
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
        let text_of = |id: RequestId| String::from_utf8(id.text(&mut [0; 32]).to_vec()).unwrap();
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
