//! Keys and values on a terminal: any bytes in, nothing hostile out.
//!
//! Invariant: what `escaped` prints holds no control character, so that no stored value can move the cursor,
//! forge a line or run an escape sequence on somebody's terminal.

use std::fmt::Write as _;

/// Printable UTF-8 stays; everything else becomes `\n`, `\t`, `\\` or `\xNN`, byte by byte.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push_escaped(&mut text, character);
        }
        for byte in chunk.invalid() {
            push_byte(&mut text, *byte);
        }
    }
    text
}

/// `escaped`, cut after about `characters_max` with a note of what is missing.
pub(crate) fn escaped_short(bytes: &[u8], characters_max: usize) -> String {
    let text = escaped(&bytes[..bytes.len().min(characters_max)]);
    if bytes.len() <= characters_max { text } else { format!("{text}… ({} bytes)", bytes.len()) }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // A String takes everything.
        text
    })
}

/// Reads hexadecimal digits, pairs of them, spaces allowed between pairs.
pub(crate) fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if !digits.len().is_multiple_of(2) {
        return Err(format!("{} hexadecimal digits: bytes need pairs of them", digits.len()));
    }
    let nibble = |digit: u8| {
        (digit as char)
            .to_digit(16)
            .ok_or_else(|| format!("`{}` is not a hexadecimal digit", (digit as char).escape_default()))
    };
    digits.chunks(2).map(|pair| Ok((nibble(pair[0])? * 16 + nibble(pair[1])?) as u8)).collect()
}

/// `field` as text when it is UTF-8, else `field_hex`: exactly one of the two is in the object.
pub(crate) fn insert_json(
    object: &mut serde_json::Map<String, serde_json::Value>,
    field: &str,
    bytes: &[u8],
) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(field.to_owned(), text.into()),
        Err(_) => object.insert(format!("{field}_hex"), hex(bytes).into()),
    };
}

fn push_escaped(text: &mut String, character: char) {
    match character {
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        _ if is_hostile(character) => {
            let mut buffer = [0; 4];
            character.encode_utf8(&mut buffer).bytes().for_each(|byte| push_byte(text, byte));
        }
        _ => text.push(character),
    }
}

fn push_byte(text: &mut String, byte: u8) {
    let _ = write!(text, "\\x{byte:02x}"); // A String takes everything.
}

/// Control characters, and the invisible ones that reorder or hide their neighbours.
fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(escaped("limit=50, größe, 価格".as_bytes()), "limit=50, größe, 価格");
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        let hostile: Vec<u8> = (0..=255).collect();
        let text = escaped(&hostile);
        assert!(text.chars().all(|character| !character.is_control()), "{text}");
        assert_eq!(escaped(b"\x1b[2J\n"), "\\x1b[2J\\n");
        assert_eq!(escaped("a\u{202e}b".as_bytes()), "a\\xe2\\x80\\xaeb");
        assert_eq!(escaped(b"\xff\xfeA"), "\\xff\\xfeA");
    }

    #[test]
    fn a_backslash_cannot_pretend_to_be_an_escape() {
        assert_ne!(escaped(b"\\x00"), escaped(b"\x00"));
    }

    #[test]
    fn hex_goes_both_ways_and_refuses_half_bytes() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&hex(&all)).unwrap(), all);
        assert_eq!(from_hex("DE ad").unwrap(), [0xde, 0xad]);
        assert!(from_hex("abc").is_err());
        assert!(from_hex("zz").is_err());
        assert!(from_hex("é").is_err());
    }

    #[test]
    fn json_holds_text_or_hex_never_both() {
        let mut object = serde_json::Map::new();
        insert_json(&mut object, "key", b"a");
        insert_json(&mut object, "value", b"\xff");
        assert_eq!(serde_json::to_string(&object).unwrap(), r#"{"key":"a","value_hex":"ff"}"#);
    }

    #[test]
    fn long_bytes_are_cut_with_their_length() {
        assert_eq!(escaped_short(b"abcdef", 3), "abc… (6 bytes)");
        assert_eq!(escaped_short(b"abc", 3), "abc");
    }
}
