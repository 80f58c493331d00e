//! Endpoint names (LwM2M Core 1.1.1 §7.3): what a server knows a node by.

pub use crate::config::endpoint;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_36_endpoint_is_made_from_the_dev_eui_unless_configured() {
        let dev_eui = "70B3D57ED0001234".parse().unwrap();
        assert_eq!(endpoint(dev_eui, None), "urn:dev:mac:70b3d57ed0001234");
        assert_eq!(endpoint(dev_eui, Some("meter-7")), "meter-7");
    }
}
