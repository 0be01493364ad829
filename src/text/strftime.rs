//! `strftime` as in Python's `datetime` on Linux, and the local time.
//!
//! Written by hand, because jiff's `strftime` differs from Python's: `%c` prints
//! `2024 M07 14, Sun 17:31:59`, `%f` has up to nine digits, and `%y` covers only 1969 to 2068.

/// A date and time on a local clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Seconds since the beginning of 1970 on that clock.
    seconds: i64,
    microsecond: u32,
    /// Offset of the clock from UTC, in seconds.
    offset: i64,
}

impl Moment {
    /// A time in UTC, in seconds since 1970.
    pub(crate) fn utc(unix_seconds: i64) -> Self {
        // The bound is far beyond any calendar. It prevents overflow in the sums below.
        let seconds = unix_seconds.clamp(-100_000_000_000_000, 100_000_000_000_000);
        Self { seconds, microsecond: 0, offset: 0 }
    }

    /// The current time in the system's time zone (or that of the variable `TZ`, if set).
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn now() -> Self {
        let now = jiff::Zoned::now();
        let offset = i64::from(now.offset().seconds());
        let microsecond = now.timestamp().subsec_microsecond();
        let unix = now.timestamp().as_microsecond().div_euclid(1_000_000);
        Self {
            seconds: unix + offset,
            microsecond: u32::try_from(microsecond.rem_euclid(1_000_000)).unwrap_or(0),
            offset,
        }
    }

    /// The current local time of the page or worker.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn now() -> Self {
        let now = js_sys::Date::new_0();
        // The offset is the minutes that UTC is ahead. Both are whole numbers far below 2^53.
        #[expect(clippy::cast_possible_truncation, reason = "a date's numbers are whole and small")]
        let (offset, milliseconds) =
            (-(now.get_timezone_offset() as i64) * 60, now.get_time() as i64);
        let millisecond = u32::try_from(milliseconds.rem_euclid(1000)).unwrap_or(0);
        let seconds = milliseconds.div_euclid(1000) + offset;
        Self { seconds, microsecond: millisecond * 1000, offset }
    }
}

/// A day of the proleptic Gregorian calendar and the seconds since its beginning.
struct Date {
    year: i64,
    /// 0 is January.
    month: usize,
    day: i64,
    /// 1 for the first of January.
    day_of_year: i64,
    /// 0 is Sunday.
    weekday: i64,
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

impl Date {
    fn new(seconds: i64) -> Self {
        let days = seconds.div_euclid(SECONDS_PER_DAY);
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
        let day_of_year = match month {
            0 | 1 => 31 * month + day,
            _ => from_march + 60 + i64::from(is_leap(year)),
        };
        Self {
            year,
            month: usize::try_from(month).unwrap_or_default(),
            day,
            day_of_year,
            weekday: (days + 4).rem_euclid(7),
            seconds: seconds.rem_euclid(SECONDS_PER_DAY),
        }
    }

    /// The year and week of ISO 8601. Weeks begin on Monday and belong to the year of their Thursday.
    fn iso_week(&self) -> (i64, i64) {
        let monday_first = (self.weekday + 6) % 7;
        let week = (self.day_of_year - 1 - monday_first + 10) / 7;
        if week < 1 {
            return (self.year - 1, weeks(self.year - 1));
        }
        if week > weeks(self.year) { (self.year + 1, 1) } else { (self.year, week) }
    }

    /// The week of the year if weeks begin on `first_day`. Days before the first week are in week 0.
    fn week(&self, first_day: i64) -> i64 {
        let since = (self.weekday - first_day).rem_euclid(7);
        (self.day_of_year + 6 - since) / 7
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Number of weeks in an ISO 8601 year.
fn weeks(year: i64) -> i64 {
    let first = |year: i64| {
        let before = year - 1;
        (1 + before * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400))
            .rem_euclid(7)
    };
    // Years with 53 weeks begin or end on a Thursday.
    52 + i64::from(first(year) == 4 || first(year + 1) == 5)
}

/// The value of a directive.
enum Piece {
    /// A number, its width and its padding character.
    Number(i64, usize, char),
    Text(String),
    /// Other directives.
    Directives(&'static str),
}

/// Formats a time as Python's `strftime` does: all directives of C with their flags, widths and
/// modifiers, in the C locale. `datetime.now()` has no time zone, so `%z` and `%Z` are empty.
///
/// # Errors
/// A message that names an unknown directive.
pub(crate) fn strftime(format: &str, moment: Moment) -> Result<String, String> {
    fill(format, &moment, &Date::new(moment.seconds))
}

fn fill(format: &str, moment: &Moment, date: &Date) -> Result<String, String> {
    let mut out = String::with_capacity(format.len());
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let (mut pad, mut upper, mut swap) = (None, false, false);
        while let Some(flag) = chars.next_if(|c| "-_0^#".contains(*c)) {
            match flag {
                '^' => upper = true,
                '#' => swap = true,
                flag => pad = Some(flag),
            }
        }
        let mut width: Option<usize> = None;
        while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
            chars.next();
            let digit = usize::try_from(digit).unwrap_or(0);
            width = Some(width.unwrap_or(0) * 10 + digit);
            if width > Some(1000) {
                return Err("strftime_now: a width is above 1000".to_owned());
            }
        }
        let _ = chars.next_if(|c| matches!(c, 'E' | 'O'));
        let Some(directive) = chars.next() else {
            return Err("strftime_now: the format ends in %".to_owned());
        };
        let piece = piece(directive, moment, date)
            .ok_or_else(|| format!("strftime_now: %{directive} is not supported"))?;
        let (text, own_width, own_pad) = match piece {
            Piece::Number(number, width, pad) => (number.to_string(), width, pad),
            Piece::Text(text) => (text, 0, ' '),
            Piece::Directives(format) => (fill(format, moment, date)?, 0, ' '),
        };
        let text = match (upper, swap, directive) {
            (_, true, 'p' | 'Z') => text.to_lowercase(),
            (true, ..) | (_, true, 'a' | 'A' | 'b' | 'B' | 'h') => text.to_uppercase(),
            _ => text,
        };
        let pad = match pad {
            Some('-') => None,
            Some('_') => Some(' '),
            Some(_) => Some('0'),
            None => Some(own_pad),
        };
        if let Some(pad) = pad {
            let missing = width.unwrap_or(own_width).saturating_sub(text.chars().count());
            out.extend(std::iter::repeat_n(pad, missing));
        }
        out.push_str(&text);
    }
    Ok(out)
}

fn piece(directive: char, moment: &Moment, date: &Date) -> Option<Piece> {
    let month = MONTHS.get(date.month).copied().unwrap_or_default();
    let day = usize::try_from(date.weekday)
        .ok()
        .and_then(|d| WEEKDAYS.get(d))
        .copied()
        .unwrap_or_default();
    let (hour, minute, second) = (date.seconds / 3600, date.seconds / 60 % 60, date.seconds % 60);
    let hour12 = (hour + 11) % 12 + 1;
    let half = if hour < 12 { "AM" } else { "PM" };
    let zeros = |number, width| Piece::Number(number, width, '0');
    let spaces = |number, width| Piece::Number(number, width, ' ');
    let text = |text: &str| Piece::Text(text.to_owned());
    Some(match directive {
        'Y' => zeros(date.year, 4),
        'y' => zeros(date.year.rem_euclid(100), 2),
        'C' => zeros(date.year.div_euclid(100), 2),
        'G' => zeros(date.iso_week().0, 4),
        'g' => zeros(date.iso_week().0.rem_euclid(100), 2),
        'V' => zeros(date.iso_week().1, 2),
        'U' => zeros(date.week(0), 2),
        'W' => zeros(date.week(1), 2),
        'm' => zeros(i64::try_from(date.month).unwrap_or(0) + 1, 2),
        'd' => zeros(date.day, 2),
        'e' => spaces(date.day, 2),
        'j' => zeros(date.day_of_year, 3),
        'u' => zeros((date.weekday + 6) % 7 + 1, 1),
        'w' => zeros(date.weekday, 1),
        'H' => zeros(hour, 2),
        'I' => zeros(hour12, 2),
        'k' => spaces(hour, 2),
        'l' => spaces(hour12, 2),
        'M' => zeros(minute, 2),
        'S' => zeros(second, 2),
        'f' => zeros(i64::from(moment.microsecond), 6),
        's' => zeros(moment.seconds - moment.offset, 1),
        'B' => text(month),
        'b' | 'h' => text(month.get(..3).unwrap_or(month)),
        'A' => text(day),
        'a' => text(day.get(..3).unwrap_or(day)),
        'p' => text(half),
        'P' => text(&half.to_lowercase()),
        'z' | 'Z' => text(""),
        'n' => text("\n"),
        't' => text("\t"),
        '%' => text("%"),
        'c' => Piece::Directives("%a %b %e %H:%M:%S %Y"),
        'x' | 'D' => Piece::Directives("%m/%d/%y"),
        'X' | 'T' => Piece::Directives("%H:%M:%S"),
        'F' => Piece::Directives("%Y-%m-%d"),
        'R' => Piece::Directives("%H:%M"),
        'r' => Piece::Directives("%I:%M:%S %p"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_equal_those_of_python() {
        // From Python 3.11 on Linux: datetime.fromtimestamp(t).strftime(...) with TZ=UTC.
        let format = "%Y-%m-%d %H:%M:%S %j %a %A %b %B %I %p %y %e %-d %-m %F %T %D %R %% %c|%x|%X|%U %W %V %G %g %u %w %C %h %k %l %P %r %s %_d %05d %^a %#p %#Z%z%Z %-I %-H %-j %10B %Ey %Od %n%t|%_H|%-S|%_5Y|%f";
        let cases = [
            (
                0,
                "1970-01-01 00:00:00 001 Thu Thursday Jan January 12 AM 70  1 1 1 1970-01-01 00:00:00 01/01/70 00:00 % Thu Jan  1 00:00:00 1970|01/01/70|00:00:00|00 00 01 1970 70 4 4 19 Jan  0 12 am 12:00:00 AM 0  1 00001 THU am  12 0 1    January 70 01 \n\t| 0|0| 1970|000000",
            ),
            (
                951827696,
                "2000-02-29 12:34:56 060 Tue Tuesday Feb February 12 PM 00 29 29 2 2000-02-29 12:34:56 02/29/00 12:34 % Tue Feb 29 12:34:56 2000|02/29/00|12:34:56|09 09 09 2000 00 2 2 20 Feb 12 12 pm 12:34:56 PM 951827696 29 00029 TUE pm  12 12 60   February 00 29 \n\t|12|56| 2000|000000",
            ),
            (
                1735689599,
                "2024-12-31 23:59:59 366 Tue Tuesday Dec December 11 PM 24 31 31 12 2024-12-31 23:59:59 12/31/24 23:59 % Tue Dec 31 23:59:59 2024|12/31/24|23:59:59|52 53 01 2025 25 2 2 20 Dec 23 11 pm 11:59:59 PM 1735689599 31 00031 TUE pm  11 23 366   December 24 31 \n\t|23|59| 2024|000000",
            ),
            (
                1795507200,
                "2026-11-24 08:00:00 328 Tue Tuesday Nov November 08 AM 26 24 24 11 2026-11-24 08:00:00 11/24/26 08:00 % Tue Nov 24 08:00:00 2026|11/24/26|08:00:00|47 47 48 2026 26 2 2 20 Nov  8  8 am 08:00:00 AM 1795507200 24 00024 TUE am  8 8 328   November 26 24 \n\t| 8|0| 2026|000000",
            ),
            (
                4107542400,
                "2100-03-01 00:00:00 060 Mon Monday Mar March 12 AM 00  1 1 3 2100-03-01 00:00:00 03/01/00 00:00 % Mon Mar  1 00:00:00 2100|03/01/00|00:00:00|09 09 09 2100 00 1 1 21 Mar  0 12 am 12:00:00 AM 4107542400  1 00001 MON am  12 0 60      March 00 01 \n\t| 0|0| 2100|000000",
            ),
            (
                -1,
                "1969-12-31 23:59:59 365 Wed Wednesday Dec December 11 PM 69 31 31 12 1969-12-31 23:59:59 12/31/69 23:59 % Wed Dec 31 23:59:59 1969|12/31/69|23:59:59|52 52 01 1970 70 3 3 19 Dec 23 11 pm 11:59:59 PM -1 31 00031 WED pm  11 23 365   December 69 31 \n\t|23|59| 1969|000000",
            ),
            (
                1230768000,
                "2009-01-01 00:00:00 001 Thu Thursday Jan January 12 AM 09  1 1 1 2009-01-01 00:00:00 01/01/09 00:00 % Thu Jan  1 00:00:00 2009|01/01/09|00:00:00|00 00 01 2009 09 4 4 20 Jan  0 12 am 12:00:00 AM 1230768000  1 00001 THU am  12 0 1    January 09 01 \n\t| 0|0| 2009|000000",
            ),
            (
                1262304000,
                "2010-01-01 00:00:00 001 Fri Friday Jan January 12 AM 10  1 1 1 2010-01-01 00:00:00 01/01/10 00:00 % Fri Jan  1 00:00:00 2010|01/01/10|00:00:00|00 00 53 2009 09 5 5 20 Jan  0 12 am 12:00:00 AM 1262304000  1 00001 FRI am  12 0 1    January 10 01 \n\t| 0|0| 2010|000000",
            ),
            (
                1483228800,
                "2017-01-01 00:00:00 001 Sun Sunday Jan January 12 AM 17  1 1 1 2017-01-01 00:00:00 01/01/17 00:00 % Sun Jan  1 00:00:00 2017|01/01/17|00:00:00|01 00 52 2016 16 7 0 20 Jan  0 12 am 12:00:00 AM 1483228800  1 00001 SUN am  12 0 1    January 17 01 \n\t| 0|0| 2017|000000",
            ),
            (
                1609459199,
                "2020-12-31 23:59:59 366 Thu Thursday Dec December 11 PM 20 31 31 12 2020-12-31 23:59:59 12/31/20 23:59 % Thu Dec 31 23:59:59 2020|12/31/20|23:59:59|52 52 53 2020 20 4 4 20 Dec 23 11 pm 11:59:59 PM 1609459199 31 00031 THU pm  11 23 366   December 20 31 \n\t|23|59| 2020|000000",
            ),
            (
                1704067200,
                "2024-01-01 00:00:00 001 Mon Monday Jan January 12 AM 24  1 1 1 2024-01-01 00:00:00 01/01/24 00:00 % Mon Jan  1 00:00:00 2024|01/01/24|00:00:00|00 01 01 2024 24 1 1 20 Jan  0 12 am 12:00:00 AM 1704067200  1 00001 MON am  12 0 1    January 24 01 \n\t| 0|0| 2024|000000",
            ),
        ];
        for (seconds, expected) in cases {
            assert_eq!(strftime(format, Moment::utc(seconds)).unwrap(), expected);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = (1970, 1, 1);
        for day in 0..200_000 {
            let text = strftime("%Y-%m-%d", Moment::utc(day * SECONDS_PER_DAY)).unwrap();
            let (y, m, d) = expected;
            assert_eq!(text, format!("{y:04}-{m:02}-{d:02}"));
            let days = [31, 28 + i32::from(is_leap(y)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            expected = match (m, d) {
                (12, 31) => (y + 1, 1, 1),
                (m, d) if d == days[m - 1] => (y, m + 1, 1),
                (m, d) => (y, m, d + 1),
            };
        }
    }

    #[test]
    fn unknown_directives_and_absurd_times_do_not_panic() {
        let at = |format| strftime(format, Moment::utc(0));
        assert_eq!(at("%Q").unwrap_err(), "strftime_now: %Q is not supported");
        assert_eq!(at("x%").unwrap_err(), "strftime_now: the format ends in %");
        assert_eq!(at("%-").unwrap_err(), "strftime_now: the format ends in %");
        assert!(at("%99999999999999999999d").is_err());
        for seconds in [i64::MIN, i64::MAX] {
            assert!(strftime("%F %T %j %A %G %V %s", Moment::utc(seconds)).is_ok());
        }
    }

    #[test]
    fn now_is_the_current_time_and_has_microseconds() {
        let now = Moment::now();
        let unix: u64 = strftime("%s", now).unwrap().parse().unwrap();
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert!(since.as_secs().abs_diff(unix) < 60);
        assert_eq!(strftime("%f", now).unwrap().len(), 6);
    }
}
