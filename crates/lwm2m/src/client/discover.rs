//! Discover (LwM2M Core 1.1.1 §6.3.3): which nodes exist, with what attributes.

use super::Client;
use crate::coap::message::Code;
use crate::format::link::Links;
use crate::object::path::Path;

impl Client {
    /// D10: the links at and below a path. Each carries what is attached right there; a resource that is itself the target carries
    /// what is in effect, inherited attributes included.
    pub(super) fn discover(&self, path: Path) -> Result<Vec<u8>, Code> {
        if path.resource_instance.is_some() {
            return Err(Code::METHOD_NOT_ALLOWED);
        }
        self.check_exists(path)?;
        let definition = self.registry.object(path.object).ok_or(Code::NOT_FOUND)?;
        let mut links = Links::default();
        let Some(instance) = path.instance else {
            links.link(path);
            if definition.version != "1.0" {
                links.attribute("ver", &definition.version);
            }
            self.attributes.attached(path).write(&mut links);
            for instance in self.tree.instances_of(path.object) {
                self.discover_instance(Path::instance(path.object, instance), &mut links);
            }
            return Ok(links.into_bytes());
        };
        if path.resource.is_none() {
            self.discover_instance(path, &mut links);
            return Ok(links.into_bytes());
        }
        if !self.resources_of(path.object, instance).any(|resource| Some(resource) == path.resource) {
            return Err(Code::NOT_FOUND);
        }
        links.link(path);
        self.dimension(path, &mut links);
        self.attributes.effective(path).write(&mut links);
        for entry in self.tree.under(path).iter().filter(|entry| entry.path != path && entry.value.is_some()) {
            links.link(entry.path);
            self.attributes.attached(entry.path).write(&mut links);
        }
        Ok(links.into_bytes())
    }

    fn discover_instance(&self, path: Path, links: &mut Links) {
        links.link(path);
        self.attributes.attached(path).write(links);
        let Some(instance) = path.instance else { return };
        for resource in self.resources_of(path.object, instance) {
            let path = Path::resource(path.object, instance, resource);
            links.link(path);
            self.dimension(path, links);
            self.attributes.attached(path).write(links);
        }
    }

    /// The number of resource instances of a multiple resource.
    fn dimension(&self, path: Path, links: &mut Links) {
        let definition = path.resource.and_then(|id| self.registry.object(path.object)?.resource(id));
        if definition.is_some_and(|definition| definition.multiple) {
            let count = self.tree.under(path).iter().filter(|entry| entry.value.is_some()).count();
            links.attribute("dim", count);
        }
    }

    /// Resources this instance has: those with a value or announced, and the mandatory ones.
    fn resources_of(&self, object: u16, instance: u16) -> impl Iterator<Item = u16> {
        let definition = self.registry.object(object);
        definition.into_iter().flat_map(|definition| definition.resources()).filter_map(move |resource| {
            let known = !self.tree.under(Path::resource(object, instance, resource.id)).is_empty();
            (resource.mandatory || known).then_some(resource.id)
        })
    }
}
