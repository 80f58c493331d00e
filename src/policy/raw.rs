//! The keys of a threat analysis as they stand in the file. None is read over.

use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::value::Datetime;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) schema: Spanned<u32>,
    pub(super) id: Spanned<String>,
    pub(super) title: Option<String>,
    pub(super) method: Option<Spanned<String>>,
    pub(super) reviewed: Spanned<Datetime>,
    pub(super) expires: Spanned<Datetime>,
    pub(super) approved_by: Spanned<Vec<String>>,
    pub(super) south: Option<Spanned<String>>,
    pub(super) fallback: Option<Spanned<String>>,
    #[serde(rename = "anchors")]
    pub(super) _anchors: Option<Vec<String>>,
    pub(super) segments: Spanned<Vec<RawSegment>>,
    #[serde(default)]
    pub(super) protections: Vec<RawProtection>,
    #[serde(default)]
    pub(super) accept: Vec<RawAccept>,
    pub(super) scope: RawScope,
    #[serde(default)]
    pub(super) needs: RawNeeds,
    #[serde(default)]
    pub(super) evidence: BTreeMap<Spanned<String>, RawEvidence>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSegment {
    pub(super) id: Spanned<String>,
    pub(super) from: Spanned<String>,
    pub(super) to: Spanned<String>,
    pub(super) medium: Spanned<String>,
    pub(super) attackers: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) own_wire: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProtection {
    pub(super) kind: Spanned<String>,
    pub(super) from: Spanned<String>,
    pub(super) to: Spanned<String>,
    pub(super) claims: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) evidence: Vec<Spanned<String>>,
    #[serde(rename = "anchors")]
    pub(super) _anchors: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAccept {
    pub(super) segment: Spanned<String>,
    pub(super) property: Spanned<String>,
    pub(super) attacker: Spanned<String>,
    pub(super) why: Spanned<String>,
    pub(super) by: Spanned<Vec<String>>,
    pub(super) expires: Spanned<Datetime>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScope {
    pub(super) endpoints: Spanned<Vec<String>>,
    pub(super) server: Spanned<String>,
    pub(super) bearer: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) plmn: Vec<String>,
    #[serde(default)]
    pub(super) rat: Vec<String>,
    pub(super) roaming: Option<bool>,
    pub(super) activation: Option<Vec<Spanned<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNeeds {
    pub(super) confidentiality: Option<bool>,
    pub(super) identity_binding: Option<Spanned<String>>,
    pub(super) clock: Option<Spanned<String>>,
    pub(super) clock_evidence: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEvidence {
    #[serde(rename = "type")]
    pub(super) kind: Spanned<String>,
    #[serde(rename = "ref")]
    pub(super) reference: Option<Spanned<String>>,
    pub(super) date: Option<Spanned<Datetime>>,
    pub(super) expires: Option<Spanned<Datetime>>,
    pub(super) probe: Option<Spanned<String>>,
    pub(super) peer: Option<Spanned<String>>,
    pub(super) max_age_s: Option<Spanned<u32>>,
}
