//! Check digits: what tells a number that identifies somebody from any other.

use serde::Deserialize;

/// Which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Check {
    Luhn,
    Mod97,
    Dni,
    Codice,
    Nir,
    Nino,
    Ssn,
    Steuer,
    Cpf,
    Aadhaar,
    Bsn,
}

impl Check {
    /// Whether a text has the right check digits. What is neither letter nor digit does not count.
    pub fn holds(self, text: &str) -> bool {
        let text: Vec<u8> = text.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_uppercase()).collect();
        let digits: Option<Vec<u32>> = text.iter().map(|b| char::from(*b).to_digit(10)).collect();
        let of = |check: fn(&[u32]) -> bool| digits.as_deref().is_some_and(check);
        match self {
            Check::Luhn => of(luhn),
            Check::Mod97 => iban(&text),
            Check::Dni => dni(&text),
            Check::Codice => codice(&text),
            Check::Nir => of(nir),
            Check::Nino => nino(&text),
            Check::Ssn => of(ssn),
            Check::Steuer => of(steuer),
            Check::Cpf => of(cpf),
            Check::Aadhaar => of(verhoeff),
            Check::Bsn => of(bsn),
        }
    }
}

fn luhn(digits: &[u32]) -> bool {
    let doubled = |digit: u32| if digit * 2 > 9 { digit * 2 - 9 } else { digit * 2 };
    let sum: u32 = digits.iter().rev().enumerate().map(|(at, digit)| if at % 2 == 1 { doubled(*digit) } else { *digit }).sum();
    digits.len() >= 12 && sum.is_multiple_of(10)
}

/// ISO 7064, MOD 97-10.
fn iban(text: &[u8]) -> bool {
    let value = |b: u8| char::from(b).to_digit(36).unwrap_or_default();
    (15..=34).contains(&text.len())
        && text[4..].iter().chain(&text[..4]).fold(0, |rest, b| {
            let value = value(*b);
            (rest * if value > 9 { 100 } else { 10 } + value) % 97
        }) == 1
}

fn dni(text: &[u8]) -> bool {
    let Some((letter, number)) = text.split_last() else { return false };
    let digit = |b: &u8| match b {
        b'X' => Some(0),
        b'Y' => Some(1),
        b'Z' => Some(2),
        b => char::from(*b).to_digit(10),
    };
    let number = number.iter().try_fold(0, |sum: u32, b| Some(sum * 10 + digit(b)?));
    text.len() == 9 && number.is_some_and(|number| b"TRWAGMYFPDXBNJZSQVHLCKE"[(number % 23) as usize] == *letter)
}

fn codice(text: &[u8]) -> bool {
    const ODD: [u32; 26] = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    // Digits count as the letters of their value.
    let value = |b: u8| char::from(b).to_digit(36).map_or(0, |value| if value > 9 { value - 10 } else { value });
    let sum: u32 = text.iter().take(15).enumerate().map(|(at, b)| if at % 2 == 0 { ODD[value(*b) as usize] } else { value(*b) }).sum();
    text.len() == 16 && u32::from(text[15]).checked_sub(u32::from(b'A')) == Some(sum % 26)
}

fn number(digits: &[u32]) -> u64 {
    digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(*digit))
}

fn nir(digits: &[u32]) -> bool {
    digits.len() == 15 && 97 - number(&digits[..13]) % 97 == number(&digits[13..])
}

fn nino(text: &[u8]) -> bool {
    text.len() == 9 && !["BG", "GB", "KN", "NK", "NT", "TN", "ZZ"].iter().any(|never| text.starts_with(never.as_bytes()))
}

fn ssn(digits: &[u32]) -> bool {
    let (area, group, serial) = match digits.len() {
        9 => (number(&digits[..3]), number(&digits[3..5]), number(&digits[5..])),
        _ => return false,
    };
    area != 0 && area != 666 && area < 900 && group != 0 && serial != 0
}

/// ISO 7064, MOD 11,10.
fn steuer(digits: &[u32]) -> bool {
    let product = digits.iter().take(10).fold(10, |product, digit| {
        let sum = (digit + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    digits.len() == 11 && (11 - product) % 10 == digits[10]
}

fn cpf(digits: &[u32]) -> bool {
    let check = |count: usize| {
        let sum: u32 = digits[..count].iter().zip((2..=count as u32 + 1).rev()).map(|(digit, weight)| digit * weight).sum();
        (sum * 10 % 11) % 10 == digits[count]
    };
    digits.len() == 11 && digits.iter().any(|digit| *digit != digits[0]) && check(9) && check(10)
}

fn bsn(digits: &[u32]) -> bool {
    let weights = [9, 8, 7, 6, 5, 4, 3, 2, -1];
    let sum: i64 = digits.iter().zip(weights).map(|(digit, weight)| i64::from(*digit) * weight).sum();
    digits.len() == 9 && sum > 0 && sum % 11 == 0
}

fn verhoeff(digits: &[u32]) -> bool {
    const MULTIPLY: [[u32; 10]; 10] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
        [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
        [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
        [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
        [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
        [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
        [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
        [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ];
    const PERMUTE: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let permuted = |digit: u32, times: usize| (0..times % 8).fold(digit, |digit, _| PERMUTE[digit as usize]);
    let rest = digits.iter().rev().enumerate().fold(0, |rest: u32, (at, digit)| MULTIPLY[rest as usize][permuted(*digit, at) as usize]);
    digits.len() == 12 && rest == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_digit_is_enough() {
        for (check, text) in [
            (Check::Luhn, "4111 1111 1111 1111"),
            (Check::Mod97, "DE89 3704 0044 0532 0130 00"),
            (Check::Dni, "12345678Z"),
            (Check::Codice, "RSSMRA85T10A562S"),
            (Check::Nir, "1 84 12 76 451 089 46"),
            (Check::Steuer, "86095742719"),
            (Check::Cpf, "529.982.247-25"),
            (Check::Aadhaar, "2341 2341 2346"),
            (Check::Bsn, "111222333"),
        ] {
            assert!(check.holds(text), "{check:?}");
            for (at, c) in text.char_indices().filter(|(_, c)| c.is_ascii_digit()) {
                let other = char::from_digit((c.to_digit(10).unwrap() + 1) % 10, 10).unwrap();
                let wrong = format!("{}{other}{}", &text[..at], &text[at + 1..]);
                assert!(!check.holds(&wrong), "{check:?} {wrong}");
            }
            assert!(!check.holds("") && !check.holds("1"), "{check:?}");
        }
        assert!(Check::Ssn.holds("078-05-1120") && !Check::Ssn.holds("666-05-1120") && !Check::Ssn.holds("078-00-1120"));
        assert!(Check::Nino.holds("AB123456C") && !Check::Nino.holds("GB123456C"));
    }
}
