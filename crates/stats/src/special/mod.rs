//! Special functions, to the accuracy that the reference values ask for.
//!
//! `libm` has erfc and lgamma. Everything that differences them (beta functions of counts near 1e9)
//! is written here in forms that do not cancel; general crates compute lnGamma differences directly
//! and lose six digits there.

mod beta;
mod gamma;
mod incomplete_gamma;
mod normal;
mod root;
mod student;

pub(crate) use beta::ln_beta_cdf;
pub(crate) use gamma::{deviance, stirling_error};
pub(crate) use incomplete_gamma::chi_squared_tail;
pub(crate) use normal::{ln_cdf, ln_two_sided, quantile, two_sided, upper_tail};
pub(crate) use root::{increasing_root, increasing_root_between};
pub(crate) use student::{t_critical, t_two_sided};
