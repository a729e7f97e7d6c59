//! Steps from one rate to another: what `{ steps: 50/s..400/s, by: 50/s }` stands for.

/// More steps than this are a ramp.
pub(crate) const MOST_STEPS: usize = 1000;

/// Why steps do not lead from one rate to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepsError {
    /// They have no height, or there is no distance.
    Flat,
    /// The last one would miss its end.
    Uneven,
    /// Too many.
    Many,
}

/// The rates that are held one after the other, both ends included, up or down.
pub(crate) fn step_rates(from: f64, to: f64, by: f64) -> Result<Vec<f64>, StepsError> {
    let distance = to - from;
    if by <= 0.0 || distance == 0.0 {
        return Err(StepsError::Flat);
    }
    let number = distance.abs() / by;
    if number >= MOST_STEPS as f64 {
        return Err(StepsError::Many);
    }
    let whole = number.round();
    // Rates are floats: a third of a request a second is no more exact than that.
    if (number - whole).abs() > 1e-6 || whole < 1.0 {
        return Err(StepsError::Uneven);
    }
    let last = whole as usize;
    Ok((0..=last)
        .map(|step| match step {
            _ if step == last => to,
            step => from + distance.signum() * by * step as f64,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn steps_go_up_and_down_and_end_where_they_should() {
        assert_eq!(
            step_rates(50.0, 200.0, 50.0),
            Ok(vec![50.0, 100.0, 150.0, 200.0])
        );
        assert_eq!(step_rates(3.0, 1.0, 1.0), Ok(vec![3.0, 2.0, 1.0]));
        assert_eq!(step_rates(50.0, 200.0, 40.0), Err(StepsError::Uneven));
        assert_eq!(step_rates(50.0, 60.0, 40.0), Err(StepsError::Uneven));
        assert_eq!(step_rates(50.0, 50.0, 40.0), Err(StepsError::Flat));
        assert_eq!(step_rates(50.0, 60.0, 0.0), Err(StepsError::Flat));
        assert_eq!(step_rates(0.0, 1e6, 1.0), Err(StepsError::Many));
    }

    proptest! {
        #[test]
        fn any_whole_number_of_steps_is_found(from in 0_u32..1000, by in 1_u32..500, n in 1_u32..200, down in any::<bool>()) {
            let (low, high) = (f64::from(from) / 3.0, f64::from(from + by * n) / 3.0);
            let (from, to) = if down { (high, low) } else { (low, high) };
            let rates = step_rates(from, to, f64::from(by) / 3.0).expect("whole");
            prop_assert_eq!(rates.len(), n as usize + 1);
            prop_assert_eq!((rates[0], rates[n as usize]), (from, to));
            let sorted = rates.is_sorted_by(|a, b| if down { a > b } else { a < b });
            prop_assert!(sorted, "{:?}", rates);
        }
    }
}
