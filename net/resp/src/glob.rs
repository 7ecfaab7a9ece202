//! Patterns as Redis matches them: `*`, `?`, `[a-z]`, `[^a]`, `\x`.
//!
//! Invariant: the time is at most the product of both lengths, whatever the pattern: only the last star is ever taken up again.

/// Whether the whole text matches the pattern.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when what stands behind the last star does not fit.
    let mut again: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            again = Some((p + 1, t));
            p += 1;
            continue;
        }
        if t == text.len() && p == pattern.len() {
            return true;
        }
        let step = if t < text.len() { one(&pattern[p..], text[t]) } else { None };
        match (step, again) {
            (Some(bytes), _) => (p, t) = (p + bytes, t + 1),
            (None, Some((behind, from))) if from < text.len() => {
                again = Some((behind, from + 1));
                (p, t) = (behind, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// How many bytes of the pattern take this byte, if they do.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', inside @ ..] => {
            let (is_in, bytes) = class(inside, byte);
            is_in.then_some(1 + bytes)
        }
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [plain, ..] => (*plain == byte).then_some(1),
    }
}

/// Whether the byte is in the class, and how long the class is. One that does not close goes to the pattern's end.
fn class(pattern: &[u8], byte: u8) -> (bool, usize) {
    let is_negated = pattern.first() == Some(&b'^');
    let mut at = usize::from(is_negated);
    let mut is_in = false;
    loop {
        match &pattern[at..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                is_in |= *escaped == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                is_in |= (*from.min(to)..=*from.max(to)).contains(&byte);
                at += 3;
            }
            [plain, ..] => {
                is_in |= *plain == byte;
                at += 1;
            }
        }
    }
    (is_in != is_negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_redis() {
        let good = [
            ("*", ""),
            ("*", "abc"),
            ("h?llo", "hello"),
            ("h*llo", "hllo"),
            ("h*llo", "heeello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            (r"a\*b", "a*b"),
            ("a*b*c", "aXbYbZc"),
            ("", ""),
            ("[a", "a"),
            (r"[\]]", "]"),
            ("**a", "a"),
            ("*[0-9]", "key7"),
        ];
        for (pattern, text) in good {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        let bad = [
            ("", "a"),
            ("a", ""),
            ("h?llo", "hllo"),
            ("h[^e]llo", "hello"),
            ("h[a-b]llo", "hcllo"),
            (r"a\*b", "aXb"),
            ("a*b", "abc"),
            ("?", ""),
            ("*a*b", "ba"),
            ("abc", "ab"),
        ];
        for (pattern, text) in bad {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer_than_its_lengths_allow() {
        let pattern = b"*a".repeat(200);
        let mut text = vec![b'a'; 100_000];
        text.push(b'b');
        assert!(!matches(&pattern, &text));
    }
}
