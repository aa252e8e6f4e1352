//! The text of 128 bits.

/// The 32 lower-case hexadecimal digits of two words.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline]
#[allow(unsafe_code, reason = "70 instructions less per request than the plain way")]
pub(crate) fn digits(words: [u64; 2]) -> [u8; 32] {
    // SAFETY: the feature that the function needs is one that this very code is compiled for.
    unsafe { sse2(words) }
}

/// The 32 lower-case hexadecimal digits of two words.
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
#[inline]
pub(crate) fn digits(words: [u64; 2]) -> [u8; 32] {
    plain(words)
}

#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
fn plain([high, low]: [u64; 2]) -> [u8; 32] {
    let digit = |nibble: u8| nibble + if nibble > 9 { b'a' - 10 } else { b'0' };
    let mut digits = [0; 32];
    let bytes = high.to_be_bytes().into_iter().chain(low.to_be_bytes());
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    digits
}

/// The same sixteen bytes at a time, which every x86-64 processor can: a quarter of the
/// instructions, and every request asks for it.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline]
#[target_feature(enable = "sse2")]
fn sse2([high, low]: [u64; 2]) -> [u8; 32] {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi8, _mm_and_si128, _mm_cmpgt_epi8, _mm_cvtsi128_si64, _mm_set_epi64x,
        _mm_set1_epi8, _mm_srli_epi16, _mm_unpackhi_epi8, _mm_unpackhi_epi64, _mm_unpacklo_epi8,
    };
    let digits_of = |nibbles: __m128i| {
        let letters = _mm_cmpgt_epi8(nibbles, _mm_set1_epi8(9));
        let offset = _mm_and_si128(letters, _mm_set1_epi8((b'a' - 10 - b'0').cast_signed()));
        _mm_add_epi8(_mm_add_epi8(nibbles, _mm_set1_epi8(b'0'.cast_signed())), offset)
    };
    let bytes = _mm_set_epi64x(low.swap_bytes().cast_signed(), high.swap_bytes().cast_signed());
    let low_half = _mm_set1_epi8(15);
    let upper = _mm_and_si128(_mm_srli_epi16::<4>(bytes), low_half);
    let lower = _mm_and_si128(bytes, low_half);
    let words_of = |digits: __m128i| {
        [digits, _mm_unpackhi_epi64(digits, digits)]
            .map(|word| _mm_cvtsi128_si64(word).to_le_bytes())
    };
    let [first, second] = words_of(digits_of(_mm_unpacklo_epi8(upper, lower)));
    let [third, fourth] = words_of(digits_of(_mm_unpackhi_epi8(upper, lower)));
    *[first, second, third, fourth].as_flattened().first_chunk().expect("32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_that_formatting_writes() {
        let mut words = [0x0123_4567_89ab_cdef_u64, 0xfedc_ba98_7654_3210];
        for _ in 0..1_000 {
            let written = format!("{:016x}{:016x}", words[0], words[1]);
            assert_eq!(digits(words), written.as_bytes());
            assert_eq!(plain(words), written.as_bytes());
            words = [words[1].wrapping_mul(0x9e37_79b9_7f4a_7c15), words[0].rotate_left(7) ^ 5];
        }
    }
}
