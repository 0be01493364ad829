//! Converts Python's numbers to JSON digit by digit, so that none is rounded.

/// Maximum number of digits in a base other than ten.
const MAX_RADIX_DIGITS: usize = 512;

/// Converts a decimal number of Python to JSON: no leading zeros, digits on both sides of the point.
pub(super) fn decimal(text: &str) -> Option<String> {
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let some = !whole.is_empty() || fraction.is_some_and(|fraction| !fraction.is_empty());
    if !some || !digits(whole) || !fraction.is_none_or(digits) {
        return None;
    }
    let mut number = whole.trim_start_matches('0').to_owned();
    if number.is_empty() {
        number.push('0');
    }
    if let Some(fraction) = fraction {
        number.push('.');
        number.push_str(if fraction.is_empty() { "0" } else { fraction });
    }
    if let Some(exponent) = exponent {
        let power = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if power.is_empty() || !digits(power) {
            return None;
        }
        number.push('e');
        number.push_str(exponent);
    }
    Some(number)
}

/// Converts a whole number in base 2, 8 or 16 to decimal digits.
pub(super) fn in_base(digits: &str, base: u32) -> Option<String> {
    if digits.is_empty() || digits.len() > MAX_RADIX_DIGITS {
        return None;
    }
    // Limbs of nine decimal digits, the least significant first.
    const LIMB: u64 = 1_000_000_000;
    let mut limbs: Vec<u64> = vec![0];
    for digit in digits.chars() {
        let mut carry = u64::from(digit.to_digit(base)?);
        for limb in &mut limbs {
            let value = *limb * u64::from(base) + carry;
            (*limb, carry) = (value % LIMB, value / LIMB);
        }
        if carry > 0 {
            limbs.push(carry);
        }
    }
    let all: String = limbs.iter().rev().map(|limb| format!("{limb:09}")).collect();
    let number = all.trim_start_matches('0');
    Some(if number.is_empty() { "0" } else { number }.to_owned())
}
