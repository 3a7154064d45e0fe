//! Compares the two arms of a canary after every exchange, at a rate of false alarms that holds however often it is looked at.
//!
//! The evidence is an e-value by universal inference: the likelihood of what both arms have seen, under rates of their own that
//! are averaged over Jeffreys' prior, over its greatest likelihood where the canary does not go wrong more often than the
//! control. Under any such rates the quotient is at most a martingale that begins at 1, so that it reaches 1/α with a
//! probability of at most α, ever (Ville). It depends on two integers an arm.

use serde::Deserialize;

/// How the arms are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// After every exchange.
    Sequential,
}

/// What the arms have seen: exchanges, and those that went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arms {
    /// The arm in which decisions are done.
    pub canary: (u32, u32),
    /// The arm in which they are told.
    pub control: (u32, u32),
}

impl Arms {
    /// Says whether the canary goes wrong more often, wrongly so in a share of at most `alpha` of all rollouts.
    pub fn reject(self, alpha: f64) -> bool {
        self.ln_e_value() >= -alpha.ln()
    }

    /// Gives the logarithm of the e-value.
    pub fn ln_e_value(self) -> f64 {
        let (canary, control) = (counts(self.canary), counts(self.control));
        let averaged = ln_averaged(canary) + ln_averaged(control);
        let is_more = canary.1 * control.0 > control.1 * canary.0;
        let greatest = if is_more {
            ln_greatest((canary.0 + control.0, canary.1 + control.1))
        } else {
            ln_greatest(canary) + ln_greatest(control)
        };
        averaged - greatest
    }
}

fn counts((exchanges, wrong): (u32, u32)) -> (f64, f64) {
    (f64::from(exchanges), f64::from(wrong.min(exchanges)))
}

/// The likelihood at the rate at which it is greatest.
fn ln_greatest((exchanges, wrong): (f64, f64)) -> f64 {
    let term = |count: f64| if count > 0.0 { count * (count / exchanges).ln() } else { 0.0 };
    term(wrong) + term(exchanges - wrong)
}

/// The likelihood averaged over Beta(½, ½).
fn ln_averaged((exchanges, wrong): (f64, f64)) -> f64 {
    ln_gamma(wrong + 0.5) + ln_gamma(exchanges - wrong + 0.5) - ln_gamma(exchanges + 1.0) - core::f64::consts::PI.ln()
}

/// The logarithm of the gamma function, for arguments of at least ½: Stirling's series, from 10 on.
fn ln_gamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 10.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * core::f64::consts::PI).ln() + series
}
