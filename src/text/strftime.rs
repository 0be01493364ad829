//! `strftime_now` for chat templates: a date in UTC, without a calendar crate.

/// Days of the proleptic Gregorian calendar and seconds of the day, from Unix time.
struct Utc {
    year: i64,
    month: usize,
    day: i64,
    /// 1 for the first of January.
    day_of_year: i64,
    /// 0 is Sunday.
    weekday: usize,
    seconds: i64,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const SECONDS_PER_DAY: i64 = 86_400;

impl Utc {
    fn new(unix_seconds: i64) -> Self {
        let days = unix_seconds.div_euclid(SECONDS_PER_DAY);
        // Howard Hinnant, "chrono-compatible low-level date algorithms": years begin in March, so
        // that the leap day is a year's last; an era is 400 years, 146,097 days.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * from_march + 2) / 153;
        let day = from_march - (153 * month_from_march + 2) / 5 + 1;
        let month = (month_from_march + 2) % 12;
        let year = year_of_era + era * 400 + i64::from(month < 2);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let day_of_year = match month {
            0 | 1 => 31 * month + day,
            _ => from_march + 60 + i64::from(leap),
        };
        Self {
            year,
            month: usize::try_from(month).unwrap_or_default(),
            day,
            day_of_year,
            weekday: usize::try_from((days + 4).rem_euclid(7)).unwrap_or_default(),
            seconds: unix_seconds.rem_euclid(SECONDS_PER_DAY),
        }
    }
}

/// `format` with the directives of C's `strftime` filled in.
///
/// Known are `a A b B d e H I j m M p S y Y F T D R Z z %` and a `-` that leaves out leading zeros.
///
/// # Errors
/// The directive that is not known.
pub(crate) fn strftime(format: &str, unix_seconds: i64) -> Result<String, String> {
    // Far beyond any calendar; keeps the sums above from overflowing.
    let utc = Utc::new(unix_seconds.clamp(-100_000_000_000_000, 100_000_000_000_000));
    let mut out = String::with_capacity(format.len());
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = chars.next();
        let bare = directive == Some('-');
        if bare {
            directive = chars.next();
        }
        match directive {
            Some(directive) => push(&mut out, directive, bare, &utc)?,
            None => return Err("strftime_now: the format ends in %".to_owned()),
        }
    }
    Ok(out)
}

fn push(out: &mut String, directive: char, bare: bool, utc: &Utc) -> Result<(), String> {
    let month = MONTHS.get(utc.month).copied().unwrap_or_default();
    let weekday = WEEKDAYS.get(utc.weekday).copied().unwrap_or_default();
    let (hour, minute, second) = (utc.seconds / 3600, utc.seconds / 60 % 60, utc.seconds % 60);
    let month_number = i64::try_from(utc.month).unwrap_or_default() + 1;
    let mut number = |value: i64, width: usize| {
        let width = if bare { 1 } else { width };
        out.push_str(&format!("{value:0width$}"));
    };
    match directive {
        'Y' => number(utc.year, 4),
        'y' => number(utc.year.rem_euclid(100), 2),
        'm' => number(month_number, 2),
        'd' => number(utc.day, 2),
        'j' => number(utc.day_of_year, 3),
        'H' => number(hour, 2),
        'I' => number((hour + 11) % 12 + 1, 2),
        'M' => number(minute, 2),
        'S' => number(second, 2),
        'e' => out.push_str(&format!("{:2}", utc.day)),
        'B' => out.push_str(month),
        'b' | 'h' => out.push_str(month.get(..3).unwrap_or(month)),
        'A' => out.push_str(weekday),
        'a' => out.push_str(weekday.get(..3).unwrap_or(weekday)),
        'p' => out.push_str(if hour < 12 { "AM" } else { "PM" }),
        'F' => out.push_str(&format!("{:04}-{month_number:02}-{:02}", utc.year, utc.day)),
        'D' => {
            let year = utc.year.rem_euclid(100);
            out.push_str(&format!("{month_number:02}/{:02}/{year:02}", utc.day));
        }
        'T' => out.push_str(&format!("{hour:02}:{minute:02}:{second:02}")),
        'R' => out.push_str(&format!("{hour:02}:{minute:02}")),
        'Z' => out.push_str("UTC"),
        'z' => out.push_str("+0000"),
        '%' => out.push('%'),
        other => return Err(format!("strftime_now: %{other} is not supported")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // From Python: datetime.fromtimestamp(t, timezone.utc).strftime(...)
        let format = "%Y-%m-%d %H:%M:%S %j %a %A %b %B %I %p %y %e %-d %-m %F %T %D %R %%";
        let cases = [
            (
                0,
                "1970-01-01 00:00:00 001 Thu Thursday Jan January 12 AM 70  1 1 1 1970-01-01 00:00:00 01/01/70 00:00 %",
            ),
            (
                951_827_696,
                "2000-02-29 12:34:56 060 Tue Tuesday Feb February 12 PM 00 29 29 2 2000-02-29 12:34:56 02/29/00 12:34 %",
            ),
            (
                1_735_689_599,
                "2024-12-31 23:59:59 366 Tue Tuesday Dec December 11 PM 24 31 31 12 2024-12-31 23:59:59 12/31/24 23:59 %",
            ),
            (
                1_795_507_200,
                "2026-11-24 08:00:00 328 Tue Tuesday Nov November 08 AM 26 24 24 11 2026-11-24 08:00:00 11/24/26 08:00 %",
            ),
            (
                4_107_542_400,
                "2100-03-01 00:00:00 060 Mon Monday Mar March 12 AM 00  1 1 3 2100-03-01 00:00:00 03/01/00 00:00 %",
            ),
            (
                -1,
                "1969-12-31 23:59:59 365 Wed Wednesday Dec December 11 PM 69 31 31 12 1969-12-31 23:59:59 12/31/69 23:59 %",
            ),
        ];
        for (seconds, expected) in cases {
            assert_eq!(strftime(format, seconds).unwrap(), expected);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = (1970, 1, 1);
        for day in 0..200_000 {
            let text = strftime("%Y-%m-%d", day * SECONDS_PER_DAY).unwrap();
            let (y, m, d) = expected;
            assert_eq!(text, format!("{y:04}-{m:02}-{d:02}"));
            let leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
            let days = [31, 28 + i32::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            expected = match (m, d) {
                (12, 31) => (y + 1, 1, 1),
                (m, d) if d == days[m - 1] => (y, m + 1, 1),
                (m, d) => (y, m, d + 1),
            };
        }
    }

    #[test]
    fn unknown_directives_and_absurd_times_are_no_panic() {
        assert_eq!(strftime("%Q", 0).unwrap_err(), "strftime_now: %Q is not supported");
        assert_eq!(strftime("x%", 0).unwrap_err(), "strftime_now: the format ends in %");
        assert_eq!(strftime("%-", 0).unwrap_err(), "strftime_now: the format ends in %");
        for seconds in [i64::MIN, i64::MAX] {
            assert!(strftime("%F %T %j %A", seconds).is_ok());
        }
    }
}
