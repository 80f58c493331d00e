package lpwad.interop;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.eclipse.leshan.core.link.Link;
import org.eclipse.leshan.core.model.LwM2mModel;
import org.eclipse.leshan.core.model.ResourceModel;
import org.eclipse.leshan.core.node.LwM2mMultipleResource;
import org.eclipse.leshan.core.node.LwM2mNode;
import org.eclipse.leshan.core.node.LwM2mObject;
import org.eclipse.leshan.core.node.LwM2mObjectInstance;
import org.eclipse.leshan.core.node.LwM2mPath;
import org.eclipse.leshan.core.node.LwM2mResource;
import org.eclipse.leshan.core.node.LwM2mResourceInstance;
import org.eclipse.leshan.core.node.LwM2mSingleResource;
import org.eclipse.leshan.core.node.ObjectLink;
import org.eclipse.leshan.core.node.TimestampedLwM2mNode;
import org.eclipse.leshan.core.node.TimestampedLwM2mNodes;
import org.eclipse.leshan.core.util.Hex;
import org.eclipse.leshan.core.util.datatype.ULong;

/**
 * Between Leshan's nodes and JSON. A node becomes a flat map of paths to values. Opaque is a string of hex digits, Time
 * a number of seconds since 1970 (with a fraction if there is one), Objlnk "object:instance", Corelnk link text.
 */
final class Values {

    private static final JsonNodeFactory JSON = JsonNodeFactory.instance;

    private Values() {}

    static ObjectNode flat(LwM2mPath path, LwM2mNode node) {
        ObjectNode values = JSON.objectNode();
        put(values, path, node);
        return values;
    }

    static ObjectNode flat(Map<LwM2mPath, LwM2mNode> nodes) {
        ObjectNode values = JSON.objectNode();
        nodes.forEach((path, node) -> put(values, path, node));
        return values;
    }

    /** One entry per time, oldest first: {"ts": unix seconds or null, "values": {..}}. */
    static ArrayNode stamped(LwM2mPath path, Collection<TimestampedLwM2mNode> nodes) {
        List<TimestampedLwM2mNode> ordered = new ArrayList<>(nodes);
        ordered.sort((a, b) -> order(a.getTimestamp(), b.getTimestamp()));
        ArrayNode entries = JSON.arrayNode();
        for (TimestampedLwM2mNode node : ordered) {
            entries.add(entry(node.getTimestamp(), flat(path, node.getNode())));
        }
        return entries;
    }

    static ArrayNode stamped(TimestampedLwM2mNodes nodes) {
        List<Instant> times = new ArrayList<>(nodes.getTimestamps());
        times.sort(Values::order);
        ArrayNode entries = JSON.arrayNode();
        for (Instant time : times) {
            entries.add(entry(time, flat(nodes.getNodesAt(time))));
        }
        return entries;
    }

    static JsonNode seconds(Instant time) {
        if (time == null) {
            return JSON.nullNode();
        }
        long millis = time.toEpochMilli();
        return millis % 1000 == 0 ? JSON.numberNode(millis / 1000) : JSON.numberNode(millis / 1000.0);
    }

    /** The node that a write or create to this path carries; the types come from the models of the client. */
    static LwM2mNode node(LwM2mPath path, JsonNode value, String type, LwM2mModel model) {
        if (path.isObjectInstance()) {
            return new LwM2mObjectInstance(path.getObjectInstanceId(), resources(path.getObjectId(), value, model));
        }
        if (path.isResource()) {
            return resource(path.getObjectId(), path.getResourceId(), value, type, model);
        }
        if (path.isResourceInstance()) {
            ResourceModel.Type known = type(path.getObjectId(), path.getResourceId(), type, model);
            return LwM2mResourceInstance.newInstance(path.getResourceInstanceId(), scalar(value, known), known);
        }
        throw new IllegalArgumentException("nothing can be written to " + path);
    }

    /** {"5700": value, ..}, a multiple resource being {"5700": {"0": value, ..}}. */
    static List<LwM2mResource> resources(int objectId, JsonNode values, LwM2mModel model) {
        List<LwM2mResource> resources = new ArrayList<>();
        values.fields().forEachRemaining(field -> resources
                .add(resource(objectId, Integer.parseInt(field.getKey()), field.getValue(), null, model)));
        return resources;
    }

    private static LwM2mResource resource(int objectId, int id, JsonNode value, String type, LwM2mModel model) {
        ResourceModel.Type known = type(objectId, id, type, model);
        if (!value.isObject()) {
            return LwM2mSingleResource.newResource(id, scalar(value, known), known);
        }
        Map<Integer, Object> instances = new HashMap<>();
        value.fields().forEachRemaining(
                field -> instances.put(Integer.parseInt(field.getKey()), scalar(field.getValue(), known)));
        return LwM2mMultipleResource.newResource(id, instances, known);
    }

    private static ResourceModel.Type type(int objectId, int resourceId, String named, LwM2mModel model) {
        if (named != null) {
            return ResourceModel.Type.valueOf(named.toUpperCase());
        }
        ResourceModel resource = model.getResourceModel(objectId, resourceId);
        if (resource == null) {
            throw new IllegalArgumentException("no model of /" + objectId + "/*/" + resourceId + ": name the type");
        }
        return resource.type;
    }

    private static Object scalar(JsonNode value, ResourceModel.Type type) {
        return switch (type) {
            case STRING -> value.asText();
            case INTEGER -> value.asLong();
            case UNSIGNED_INTEGER -> ULong.valueOf(value.asText());
            case FLOAT -> value.asDouble();
            case BOOLEAN -> value.asBoolean();
            case OPAQUE -> Hex.decodeHex(value.asText().toCharArray());
            case TIME -> new Date(Math.round(value.asDouble() * 1000));
            case OBJLNK -> ObjectLink.decodeFromString(value.asText());
            default -> throw new IllegalArgumentException("values of type " + type + " cannot be written");
        };
    }

    private static void put(ObjectNode values, LwM2mPath path, LwM2mNode node) {
        if (node instanceof LwM2mObject object) {
            object.getInstances().forEach((id, instance) -> put(values, path.append(id), instance));
        } else if (node instanceof LwM2mObjectInstance instance) {
            instance.getResources().forEach((id, resource) -> put(values, path.append(id), resource));
        } else if (node instanceof LwM2mResource resource && resource.isMultiInstances()) {
            resource.getInstances().forEach((id, instance) -> put(values, path.append(id), instance));
        } else if (node instanceof LwM2mResource resource) {
            values.set(path.toString(), json(resource.getValue()));
        } else if (node instanceof LwM2mResourceInstance instance) {
            values.set(path.toString(), json(instance.getValue()));
        } else {
            values.set(path.toString(), JSON.nullNode());
        }
    }

    private static JsonNode json(Object value) {
        if (value instanceof Long number) {
            return JSON.numberNode(number);
        } else if (value instanceof ULong number) {
            return JSON.numberNode(number.toBigInteger());
        } else if (value instanceof Double number) {
            return JSON.numberNode(number);
        } else if (value instanceof Boolean flag) {
            return JSON.booleanNode(flag);
        } else if (value instanceof byte[] bytes) {
            return JSON.textNode(Hex.encodeHexString(bytes));
        } else if (value instanceof Date date) {
            return seconds(date.toInstant());
        } else if (value instanceof ObjectLink link) {
            return JSON.textNode(link.encodeToString());
        } else if (value instanceof Link[] links) {
            return JSON.textNode(Links.text(links));
        }
        return JSON.textNode(String.valueOf(value));
    }

    private static ObjectNode entry(Instant time, ObjectNode values) {
        ObjectNode entry = JSON.objectNode();
        entry.set("ts", seconds(time));
        entry.set("values", values);
        return entry;
    }

    private static int order(Instant a, Instant b) {
        if (a == null || b == null) {
            return a == b ? 0 : a == null ? 1 : -1;
        }
        return a.compareTo(b);
    }
}
