//! The object list of a registration: RFC 6690 links.

use super::path::Path;

/// Most links of one registration.
pub const MAX_LINKS: usize = 256;

/// The objects and object instances in a list such as `</>;rt="oma.lwm2m",</3303>;ver=1.1,</3303/0>`
/// (LwM2M Core 1.1.1 §6.2.1). Links that are no object path are passed over, the root link among them.
///
/// `None` if it is not a list of links, or longer than [`MAX_LINKS`].
#[must_use]
pub fn object_list(payload: &[u8]) -> Option<Vec<Path>> {
    let text = std::str::from_utf8(payload).ok()?;
    let links = split_outside_quotes(text, ',');
    if links.len() > MAX_LINKS {
        return None;
    }
    let mut paths = Vec::new();
    for link in links {
        let target = link.trim().strip_prefix('<')?.split_once('>')?.0;
        if let Ok(path) = target.parse() {
            paths.push(path);
        }
    }
    Some(paths)
}

fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(|c| {
        quoted ^= c == '"';
        !quoted && c == separator
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &str) -> Option<Vec<String>> {
        Some(object_list(list.as_bytes())?.iter().map(Path::to_string).collect())
    }

    #[test]
    fn objects_and_instances_are_found() {
        let list = r#"</>;rt="oma.lwm2m";ct="60,110 112",</1>;ver=1.1,</1/0>, </3303/0>,</5>"#;
        assert_eq!(texts(list).unwrap(), ["/1", "/1/0", "/3303/0", "/5"]);
    }

    #[test]
    fn what_is_no_list_of_links_is_refused() {
        for bad in ["", "3303/0", "</3303/0", "</3/0>,", "/3/0,</4/0>"] {
            assert_eq!(texts(bad), None, "{bad}");
        }
        assert_eq!(object_list(b"\xff"), None);
        assert_eq!(object_list("</3/0>,".repeat(MAX_LINKS + 1).trim_end_matches(',').as_bytes()), None);
    }
}
