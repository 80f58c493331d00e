//! Link format (RFC 6690): the object list of a registration and the answer to Discover.

use core::fmt::Write;

/// Comma separated links; attributes are added to the last one.
#[derive(Default)]
pub(crate) struct Links {
    text: String,
}

impl Links {
    /// `<target>`
    pub(crate) fn link(&mut self, target: impl core::fmt::Display) -> &mut Links {
        if !self.text.is_empty() {
            self.text.push(',');
        }
        self.write(format_args!("<{target}>"))
    }

    /// `;name=value`. LwM2M attributes are bare; a value in quotes brings them along.
    pub(crate) fn attribute(&mut self, name: &str, value: impl core::fmt::Display) -> &mut Links {
        self.write(format_args!(";{name}={value}"))
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.text.into_bytes()
    }

    fn write(&mut self, arguments: core::fmt::Arguments<'_>) -> &mut Links {
        self.text.write_fmt(arguments).expect("writing to a string cannot fail");
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_separated_and_attributes_follow_their_link() {
        let mut links = Links::default();
        links.link("/").attribute("rt", "\"oma.lwm2m\"");
        links.link("/1").attribute("ver", "1.1");
        links.link("/1/0");
        assert_eq!(links.into_bytes(), br#"</>;rt="oma.lwm2m",</1>;ver=1.1,</1/0>"#);
    }
}
