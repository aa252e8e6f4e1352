//! The `Server-Timing` header.

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Adds how long the response took, and each section of it: `total;dur=12.345, lookup;dur=3.210`,
/// in milliseconds. Entries of others stay beside it.
///
/// Source: W3C Server Timing, section 4.
#[cold]
pub(crate) fn tell(headers: &mut HeaderMap, total_ns: u64, sections: &[(&'static str, u64)]) {
    let mut text = String::new();
    for (name, ns) in std::iter::once(&("total", total_ns)).chain(sections) {
        // A metric name is a token; what is none is left out rather than breaking the header.
        if name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
            && !name.is_empty()
        {
            let separator = if text.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ =
                write!(text, "{separator}{name};dur={}.{:03}", ns / 1_000_000, ns / 1_000 % 1_000);
        }
    }
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.append(SERVER_TIMING, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_follow_the_total_in_milliseconds_and_bad_names_are_left_out() {
        let mut headers = HeaderMap::new();
        headers.insert(SERVER_TIMING, HeaderValue::from_static("proxy;dur=1"));
        tell(&mut headers, 12_345_678, &[("lookup", 3_000_999), ("two words", 1), ("", 1)]);
        let values: Vec<_> = headers.get_all(SERVER_TIMING).iter().collect();
        assert_eq!(values, ["proxy;dur=1", "total;dur=12.345, lookup;dur=3.000"]);
    }
}
