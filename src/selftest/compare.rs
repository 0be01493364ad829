//! Comparison of the GPU's results with the twin's.

use super::KernelCheck;

/// Relative rounding error of one f32 operation.
pub(super) const EPSILON: f64 = 5.960_464_477_539_063e-8;
/// The least normal f32; operations may flush smaller values to zero.
pub(super) const TINY: f64 = 1.175_494_350_822_287_5e-38;

/// The largest of some errors; NaN if any of them is.
#[must_use]
pub fn worst(errors: impl IntoIterator<Item = f64>) -> f64 {
    errors.into_iter().fold(0.0, |most, e| match most.is_nan() || e.is_nan() {
        true => f64::NAN,
        false => most.max(e),
    })
}

/// Collects the worst element and the first failure of a case.
pub(super) struct Comparison {
    ratio: f64,
    max_error: f64,
    tolerance: f64,
    failure: String,
}

impl Comparison {
    pub(super) fn new() -> Self {
        Self { ratio: 0.0, max_error: 0.0, tolerance: 0.0, failure: String::new() }
    }

    pub(super) fn fail(&mut self, failure: String) {
        if self.failure.is_empty() {
            self.failure = failure;
        }
    }

    /// Compares one number within `tolerance`.
    pub(super) fn number(&mut self, name: &str, i: usize, got: f32, want: f64, tolerance: f64) {
        let error = (f64::from(got) - want).abs();
        let equal = f64::from(got) == want || (got.is_nan() && want.is_nan());
        let within = equal || error <= tolerance;
        let ratio = match (equal, error.is_finite()) {
            (true, _) => 0.0,
            (_, true) => error / tolerance.max(f64::MIN_POSITIVE),
            (_, false) => f64::MAX,
        };
        if ratio > self.ratio || (self.tolerance == 0.0 && tolerance.is_finite()) {
            (self.ratio, self.max_error, self.tolerance) = (ratio, error, tolerance);
        }
        if !within {
            self.fail(format!("{name}[{i}] is {got:e}, should be {want:e} within {tolerance:e}"));
        }
    }

    /// Compares floats, each within its own bound.
    pub(super) fn floats(
        &mut self,
        name: &str,
        got: &[f32],
        want: &[f32],
        bound: impl Fn(usize) -> f64,
    ) {
        if got.len() != want.len() {
            self.fail(format!("{name} has {} values, should have {}", got.len(), want.len()));
        }
        for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
            self.number(name, i, g, f64::from(w), bound(i));
        }
    }

    /// Requires a normalised mean square error, sum (got - want)^2 / sum want^2, of at most `most`
    /// over the elements whose expected value is not NaN.
    pub(super) fn nmse(&mut self, name: &str, got: &[f32], want: &[f32], most: f64) {
        let (mut error, mut scale) = (0.0, 0.0);
        for (&g, &w) in got.iter().zip(want).filter(|(_, w)| !w.is_nan()) {
            let (g, w) = (f64::from(g), f64::from(w));
            error += (g - w) * (g - w);
            scale += w * w;
        }
        // The comparison is written so that a NaN fails.
        let within = error <= most * scale;
        if !within {
            self.fail(format!("{name}: NMSE {:e}, should be at most {most:e}", error / scale));
        }
    }

    /// Compares integers exactly.
    pub(super) fn exact(&mut self, name: &str, got: &[u32], want: &[u32]) {
        if got.len() != want.len() {
            self.fail(format!("{name} has {} values, should have {}", got.len(), want.len()));
        }
        if let Some(i) = got.iter().zip(want).position(|(g, w)| g != w) {
            self.max_error = f64::from(got[i].abs_diff(want[i]));
            self.fail(format!("{name}[{i}] is {}, should be {}", got[i], want[i]));
        }
    }

    pub(super) fn finish(self, kernel: &'static str, variant: String, case: String) -> KernelCheck {
        KernelCheck {
            kernel,
            variant,
            case,
            max_error: self.max_error,
            tolerance: self.tolerance,
            passed: self.failure.is_empty(),
            failure: self.failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_stays_the_worst() {
        assert_eq!(worst([]), 0.0);
        assert_eq!(worst([1.0, 3.0, 2.0]), 3.0);
        assert_eq!(worst([1.0, f64::INFINITY, 2.0]), f64::INFINITY);
        for errors in [[f64::NAN, 1.0, 2.0], [1.0, f64::NAN, 2.0], [1.0, 2.0, f64::NAN]] {
            assert!(worst(errors).is_nan(), "{errors:?}");
        }
        assert!(worst([f64::NAN, f64::INFINITY, 0.0]).is_nan());
    }

    #[test]
    fn a_nan_fails_a_comparison_whatever_follows() {
        for nan_at in 0..3 {
            let mut got = [1.0; 3];
            got[nan_at] = f32::NAN;
            let mut c = Comparison::new();
            c.floats("out", &got, &[1.0; 3], |_| 0.1);
            assert!(!c.finish("k", String::new(), String::new()).passed, "{nan_at}");
            let mut c = Comparison::new();
            c.nmse("out", &got, &[1.0; 3], 0.1);
            assert!(!c.finish("k", String::new(), String::new()).passed, "{nan_at}");
        }
    }
}
