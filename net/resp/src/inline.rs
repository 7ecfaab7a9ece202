//! Inline requests: a line of words, as somebody types them into a terminal.
//!
//! Invariant: the rules are those of Redis's `sdssplitargs`: double quotes know escapes, single quotes only `\'`, and behind a
//! closing quote stands a space or nothing.

use crate::request::Span;

/// Splits a line into words, unescaped into `out`; `None` when a quote is not closed, or something sticks to its end.
pub(crate) fn split(line: &[u8], out: &mut Vec<u8>, words: &mut Vec<Span>) -> Option<()> {
    let mut rest = line;
    loop {
        let blanks = rest.iter().take_while(|byte| is_space(**byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Some(());
        }
        let begin = out.len() as u32;
        rest = word(rest, out)?;
        words.push(Span { begin, end: out.len() as u32 });
    }
}

/// One word; what stands behind it.
fn word<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return Some(rest),
            // A zero byte ends a C string, and so a line.
            [0, ..] => return Some(&[]),
            [byte, ..] if is_space(*byte) => return Some(rest),
            [b'"', inside @ ..] => return closed(double_quoted(inside, out)?),
            [b'\'', inside @ ..] => return closed(single_quoted(inside, out)?),
            [byte, behind @ ..] => {
                out.push(*byte);
                rest = behind;
            }
        }
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] | [0, ..] => return None,
            [b'"', behind @ ..] => return Some(behind),
            [b'\\', b'x', high, low, behind @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex(*high) << 4 | hex(*low));
                behind
            }
            [b'\\', escaped, behind @ ..] => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                behind
            }
            [byte, behind @ ..] => {
                out.push(*byte);
                behind
            }
        };
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] | [0, ..] => return None,
            [b'\\', b'\'', behind @ ..] => {
                out.push(b'\'');
                behind
            }
            [b'\'', behind @ ..] => return Some(behind),
            [byte, behind @ ..] => {
                out.push(*byte);
                behind
            }
        };
    }
}

fn closed(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|byte| is_space(*byte)).then_some(rest)
}

/// C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<Vec<u8>>> {
        let (mut out, mut spans) = (Vec::new(), Vec::new());
        split(line.as_bytes(), &mut out, &mut spans)?;
        Some(spans.iter().map(|span| out[span.begin as usize..span.end as usize].to_vec()).collect())
    }

    fn plain(line: &str) -> Vec<String> {
        words(line).unwrap().into_iter().map(|word| String::from_utf8(word).unwrap()).collect()
    }

    #[test]
    fn words_stand_between_spaces() {
        assert_eq!(plain("  set  key\tvalue "), ["set", "key", "value"]);
        assert_eq!(plain("   "), Vec::<String>::new());
    }

    #[test]
    fn quotes_hold_spaces_and_escapes() {
        assert_eq!(plain(r#"set k "a b\n\t\"c\"""#), ["set", "k", "a b\n\t\"c\""]);
        assert_eq!(plain(r"set k 'a \n \'b\''"), ["set", "k", r"a \n 'b'"]);
        assert_eq!(words(r#""\x00\xfF\x1""#).unwrap(), [b"\x00\xffx1".to_vec()]);
        assert_eq!(plain(r#"set k """#), ["set", "k", ""]);
        assert_eq!(plain(r#"pre"in side""#), ["prein side"]);
    }

    #[test]
    fn a_quote_that_is_not_closed_or_has_something_behind_is_refused() {
        for line in [r#"set k "a"#, "set k 'a", r#"set "k"v"#, "set 'k'v", r#"set k "a\"#] {
            assert_eq!(words(line), None, "{line}");
        }
    }
}
