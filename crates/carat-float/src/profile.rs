//! The profiles that this release runs.

/// A profile, and what a worker must show before it may claim it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// The name in Programs and Statements.
    pub name: &'static str,
    /// SHA-256 over the bits of the known answers ([`crate::protocol::Reply::Hello`]). A worker that was built otherwise, or
    /// that a machine runs otherwise, gives others and is not used.
    pub answers: &'static str,
}

/// x86-64-v3: processors with AVX2 and FMA (Intel Haswell, AMD Excavator and later).
pub const X86_64_V3: Profile = Profile {
    name: "tract/0.23.9/x86-64-v3",
    answers: "88da93e4dad085805a271a755f9f85702c3f72790d9271100b27d86c6bd1952a",
};

/// All of them; the first is what `tract` stands for on a command line.
pub const PROFILES: [Profile; 1] = [X86_64_V3];

/// The profile of a name; `tract` is the current one.
#[must_use]
pub fn find(name: &str) -> Option<Profile> {
    if name == "tract" {
        return PROFILES.first().copied();
    }
    PROFILES.into_iter().find(|profile| profile.name == name)
}

/// Why this machine cannot run a profile; `None` where it can.
#[must_use]
pub fn lacks(profile: &Profile) -> Option<&'static str> {
    if *profile != X86_64_V3 {
        return Some("this release does not know the profile");
    }
    #[cfg(target_arch = "x86_64")]
    {
        let there = std::is_x86_feature_detected!("avx2")
            && std::is_x86_feature_detected!("fma")
            && std::is_x86_feature_detected!("f16c")
            && std::is_x86_feature_detected!("bmi1")
            && std::is_x86_feature_detected!("bmi2")
            && std::is_x86_feature_detected!("lzcnt")
            && std::is_x86_feature_detected!("movbe");
        (!there).then_some("the processor lacks what x86-64-v3 needs (AVX2, FMA, F16C, BMI)")
    }
    #[cfg(not(target_arch = "x86_64"))]
    Some("the profile is for x86-64 processors, and this is another one")
}
