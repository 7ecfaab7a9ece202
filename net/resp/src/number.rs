//! Numbers as Redis reads and writes them.
//!
//! Invariant: an integer has one spelling, so that a value that counts as a number is the one that counting would write.

/// A signed 64-bit integer in its only spelling: no sign but `-`, no leading zeros, no spaces.
#[must_use]
pub fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_negative = digits.len() < text.len();
    let is_plain = match digits {
        [] => false,
        [b'0'] => !is_negative,
        [first, ..] => *first != b'0' && digits.iter().all(u8::is_ascii_digit),
    };
    if !is_plain || text.len() > 20 {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_has_one_spelling() {
        let good = [
            ("0", 0),
            ("7", 7),
            ("-1", -1),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ];
        for (text, number) in good {
            assert_eq!(integer(text.as_bytes()), Some(number));
        }
        for bad in ["", "-", "-0", "00", "01", "+1", " 1", "1 ", "1.0", "9223372036854775808", "0x1", "one"] {
            assert_eq!(integer(bad.as_bytes()), None, "{bad}");
        }
    }
}
