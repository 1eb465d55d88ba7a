//! Who is told how long work goes: a terminal, or nobody.

/// What work tells while it goes on. It is over when this is dropped.
pub trait Doing: Sync {
    /// Says what is done now.
    fn say(&self, what: &str);
}

/// Where work shows itself.
pub trait Tell: Sync {
    /// Work begins.
    fn begin(&self, what: String) -> Box<dyn Doing>;
    /// Something that people should know, in one line.
    fn note(&self, line: &str);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silent;

impl Doing for Silent {
    fn say(&self, _: &str) {}
}

impl Tell for Silent {
    fn begin(&self, _: String) -> Box<dyn Doing> {
        Box::new(Self)
    }

    fn note(&self, _: &str) {}
}
