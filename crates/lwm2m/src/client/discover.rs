//! Discover (LwM2M Core 1.1.1 §6.3.2): what exists at and below a path, with the attributes attached there (D10).

use super::Client;
use crate::coap::message::Code;
use crate::format::link::Links;
use crate::object::path::Path;

impl Client {
    /// Links of the target and what lies below it. On an object or an instance each link shows what is attached there; on a
    /// resource the inherited attributes show as well, and its instances are listed.
    pub(super) fn discover(&self, path: Path) -> Result<Vec<u8>, Code> {
        let target = self.target(path)?;
        if path.resource_instance.is_some() {
            return Err(Code::BAD_REQUEST);
        }
        let object = self.registry.object(path.object).ok_or(Code::NOT_FOUND)?;
        let mut links = Links::default();
        if target.is_some() {
            if self.tree.under(path).is_empty() {
                return Err(Code::NOT_FOUND);
            }
            self.resource_link(&mut links, path);
            self.attributes.effective(path).write(&mut links);
            for entry in self.tree.under(path).iter().filter(|entry| entry.path.resource_instance.is_some()) {
                links.link(entry.path);
                self.attributes.attached(entry.path).write(&mut links);
            }
            return Ok(links.into_bytes());
        }
        if path.instance.is_none() {
            links.link(path);
            if object.version != "1.0" {
                links.attribute("ver", &object.version);
            }
            self.attributes.attached(path).write(&mut links);
        }
        for instance in self.tree.instances_of(path.object).filter(|id| path.instance.is_none_or(|wanted| wanted == *id)) {
            let instance = Path::instance(path.object, instance);
            links.link(instance);
            self.attributes.attached(instance).write(&mut links);
            let mut before = None;
            for entry in self.tree.under(instance) {
                let resource = Path { resource_instance: None, ..entry.path };
                if before != Some(resource) {
                    self.resource_link(&mut links, resource);
                    self.attributes.attached(resource).write(&mut links);
                }
                before = Some(resource);
            }
        }
        Ok(links.into_bytes())
    }

    fn resource_link(&self, links: &mut Links, resource: Path) {
        links.link(resource);
        let instances = self.tree.under(resource).iter().filter(|entry| entry.path.resource_instance.is_some()).count();
        if instances > 0 {
            links.attribute("dim", instances);
        }
    }
}
