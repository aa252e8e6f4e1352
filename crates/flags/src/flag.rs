//! A flag as it is written, in code.

/// A named choice between variations, split by hashing a subject.
///
/// A new flag has the variations `control` and `variation` at equal weights, full coverage, and
/// its name as salt. Nothing is checked until the flag becomes part of a
/// [`FlagSet`](crate::FlagSet), which reports every problem at once.
///
/// ```
/// use latency_experiment_flags::{Flag, FlagSet};
///
/// let flag = Flag::new("cached_whitelist").with_coverage_bp(500).with_override_header("x-experiment");
/// assert!(FlagSet::try_new([flag]).is_ok());
///
/// let three_arms = Flag::new("pool size").with_variations([("small", 1), ("large", 1), ("huge", 2)]);
/// assert_eq!(
///     FlagSet::try_new([three_arms]).unwrap_err().to_string(),
///     "flags[0].name: `pool size` must be 1 to 64 letters, digits, `_`, `-` or `.`\n\
///      flags[0].control: `control` is not among the variations (`small`, `large`, `huge`)"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    pub(crate) name: String,
    pub(crate) enabled: bool,
    pub(crate) epoch: u64,
    pub(crate) variations: Vec<Variation>,
    pub(crate) control: String,
    pub(crate) salt: Option<String>,
    pub(crate) subject: Subject,
    pub(crate) coverage_bp: u16,
    pub(crate) exclusion_group: Option<ExclusionGroup>,
    pub(crate) override_header: Option<String>,
}

/// One thing that a flag can return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variation {
    /// The name, as it appears in series and reports.
    pub name: String,
    /// Its share of the subjects, relative to the other weights.
    pub weight: u32,
}

/// What is hashed to choose the arm of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// The ID of the request: every request is dealt anew. It reaches a verdict fastest.
    #[default]
    RequestId,
    /// The value of a request header, such as a user or a tenant: the flag is *sticky*, all requests
    /// of a subject get one arm. A request without the header gets control, outside the experiment.
    Header(String),
}

/// The part of an exclusion group that a flag takes: flags with disjoint ranges in one group never
/// share a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExclusionGroup {
    /// The salt of the group, equal for all its flags.
    pub salt: String,
    /// First position that belongs to the flag, of 10,000.
    pub from: u16,
    /// First position after those of the flag, at most 10,000.
    pub to: u16,
}

impl Flag {
    /// An enabled flag with the variations `control` and `variation`, split 50:50 over all
    /// subjects.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            enabled: true,
            epoch: 1,
            variations: ["control", "variation"]
                .map(|name| Variation { name: name.to_owned(), weight: 1 })
                .into(),
            control: "control".to_owned(),
            salt: None,
            subject: Subject::RequestId,
            coverage_bp: crate::FULL_COVERAGE_BP,
            exclusion_group: None,
            override_header: None,
        }
    }

    /// The kill switch: a disabled flag gives control to everybody, outside the experiment.
    #[must_use]
    pub fn with_enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// The epoch, 1 by default. Raise it when the split, the salt or the variations change, so that
    /// what was recorded before is not mixed with what comes after.
    #[must_use]
    pub fn with_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// The variations with their weights, in place of `control` and `variation`. The weights
    /// together may not exceed 2³² − 1; a weight of 0 keeps a variation without giving it subjects.
    #[must_use]
    pub fn with_variations<N: Into<String>>(
        mut self,
        variations: impl IntoIterator<Item = (N, u32)>,
    ) -> Self {
        self.variations = variations
            .into_iter()
            .map(|(name, weight)| Variation { name: name.into(), weight })
            .collect();
        self
    }

    /// Which variation is control, `control` by default.
    #[must_use]
    pub fn with_control(mut self, name: impl Into<String>) -> Self {
        self.control = name.into();
        self
    }

    /// The salt, by default the name of the flag. Another salt deals all subjects anew.
    #[must_use]
    pub fn with_salt(mut self, salt: impl Into<String>) -> Self {
        self.salt = Some(salt.into());
        self
    }

    /// What is hashed, by default the request ID.
    ///
    /// Keep to the request ID unless a user who switches between the arms would notice: requests of
    /// one subject resemble each other, so a sticky flag needs many more of them.
    #[must_use]
    pub fn with_subject(mut self, subject: Subject) -> Self {
        self.subject = subject;
        self
    }

    /// The share of subjects in the experiment at all, in basis points: 0 to 10,000. Growing it
    /// moves no subject from one arm to another.
    #[must_use]
    pub fn with_coverage_bp(mut self, coverage_bp: u16) -> Self {
        self.coverage_bp = coverage_bp;
        self
    }

    /// Confines the flag to its part of an exclusion group.
    #[must_use]
    pub fn with_exclusion_group(mut self, group: ExclusionGroup) -> Self {
        self.exclusion_group = Some(group);
        self
    }

    /// A request header that names the variation to serve, for testing by hand. Off by default,
    /// because whoever can send the header chooses the code path. Requests that it decides are
    /// never analysed. A value that names no variation has no effect.
    #[must_use]
    pub fn with_override_header(mut self, header: impl Into<String>) -> Self {
        self.override_header = Some(header.into());
        self
    }
}
