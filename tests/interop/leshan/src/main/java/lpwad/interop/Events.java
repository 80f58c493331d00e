package lpwad.interop;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Collection;
import org.eclipse.leshan.core.node.LwM2mPath;
import org.eclipse.leshan.core.node.TimestampedLwM2mNodes;
import org.eclipse.leshan.core.observation.CompositeObservation;
import org.eclipse.leshan.core.observation.Observation;
import org.eclipse.leshan.core.observation.SingleObservation;
import org.eclipse.leshan.core.request.SendRequest;
import org.eclipse.leshan.core.response.ObserveCompositeResponse;
import org.eclipse.leshan.core.response.ObserveResponse;
import org.eclipse.leshan.server.observation.ObservationListener;
import org.eclipse.leshan.server.queue.PresenceListener;
import org.eclipse.leshan.server.registration.Registration;
import org.eclipse.leshan.server.registration.RegistrationListener;
import org.eclipse.leshan.server.registration.RegistrationUpdate;
import org.eclipse.leshan.server.send.SendListener;

/** What clients do, as event lines. */
final class Events implements RegistrationListener, ObservationListener, SendListener, PresenceListener {

    private final Lines lines;

    Events(Lines lines) {
        this.lines = lines;
    }

    /** All that is known of a registration; also the entries of the `clients` answer. */
    static ObjectNode describe(ObjectNode line, Registration registration) {
        line.put("ep", registration.getEndpoint());
        line.put("lt", registration.getLifeTimeInSec());
        line.set("objects", Links.paths(registration.getObjectLinks()));
        line.put("links", Links.text(registration.getObjectLinks()));
        line.put("address", registration.getAddress().getHostAddress());
        line.put("port", registration.getPort());
        line.put("lwm2m", registration.getLwM2mVersion().toString());
        line.put("queue", registration.usesQueueMode());
        line.put("location", "/rd/" + registration.getId());
        return line;
    }

    @Override
    public void registered(Registration registration, Registration previous, Collection<Observation> lost) {
        lines.put(describe(lines.event("registered"), registration).put("replaced", previous != null));
    }

    @Override
    public void updated(RegistrationUpdate update, Registration updated, Registration previous) {
        lines.put(describe(lines.event("updated"), updated).put("with_objects", update.getObjectLinks() != null));
    }

    @Override
    public void unregistered(Registration registration, Collection<Observation> lost, boolean expired,
            Registration replacement) {
        // A replaced registration is told by its successor.
        if (replacement == null) {
            lines.put(lines.event(expired ? "expired" : "unregistered").put("ep", registration.getEndpoint()));
        }
    }

    @Override
    public void newObservation(Observation observation, Registration registration) {
        ObjectNode line = lines.event("observed").put("ep", registration.getEndpoint());
        lines.put(withPath(line, observation));
    }

    @Override
    public void cancelled(Observation observation) {
        lines.put(withPath(lines.event("cancelled"), observation));
    }

    @Override
    public void onResponse(SingleObservation observation, Registration registration, ObserveResponse response) {
        LwM2mPath path = observation.getPath();
        ObjectNode line = notification(registration, observation, Commands.code(response));
        Commands.putFormat(line, response);
        if (response.getContent() != null) {
            ObjectNode values = Values.flat(path, response.getContent());
            JsonNode value = values.get(path.toString());
            if (value != null) {
                line.set("value", value);
            }
            line.set("values", values);
        }
        if (response.getTimestampedLwM2mNodes() != null && !response.getTimestampedLwM2mNodes().isEmpty()) {
            putStamped(line, Values.stamped(path, response.getTimestampedLwM2mNodes()));
        } else if (response.getTimestampedLwM2mNode() != null) {
            line.set("ts", Values.seconds(response.getTimestampedLwM2mNode().getTimestamp()));
        }
        lines.put(line);
    }

    @Override
    public void onResponse(CompositeObservation observation, Registration registration,
            ObserveCompositeResponse response) {
        ObjectNode line = notification(registration, observation, Commands.code(response));
        Commands.putFormat(line, response);
        if (response.getContent() != null) {
            line.set("values", Values.flat(response.getContent()));
        }
        if (response.getTimestampedLwM2mNodes() != null) {
            putStamped(line, Values.stamped(response.getTimestampedLwM2mNodes()));
        }
        lines.put(line);
    }

    @Override
    public void onError(Observation observation, Registration registration, Exception error) {
        ObjectNode line = lines.event("notify-error");
        if (registration != null) {
            line.put("ep", registration.getEndpoint());
        }
        lines.put(withPath(line, observation).put("detail", String.valueOf(error.getMessage())));
    }

    @Override
    public void dataReceived(Registration registration, TimestampedLwM2mNodes data, SendRequest request) {
        ObjectNode line = lines.event("send").put("ep", registration.getEndpoint());
        line.set("values", Values.flat(data.getNodes()));
        putStamped(line, Values.stamped(data));
        lines.put(line);
    }

    @Override
    public void onError(Registration registration, String detail, Exception error) {
        ObjectNode line = lines.event("send-error");
        if (registration != null) {
            line.put("ep", registration.getEndpoint());
        }
        lines.put(line.put("detail", detail + (error == null ? "" : ": " + error.getMessage())));
    }

    @Override
    public void onAwake(Registration registration) {
        lines.put(lines.event("awake").put("ep", registration.getEndpoint()));
    }

    @Override
    public void onSleeping(Registration registration) {
        lines.put(lines.event("sleeping").put("ep", registration.getEndpoint()));
    }

    private ObjectNode notification(Registration registration, Observation observation, String code) {
        ObjectNode line = lines.event("notify").put("ep", registration.getEndpoint());
        return withPath(line, observation).put("code", code);
    }

    /** The newest time as `ts`, and the whole history when there is more than one. */
    private static void putStamped(ObjectNode line, ArrayNode entries) {
        if (entries.isEmpty()) {
            return;
        }
        line.set("ts", entries.get(entries.size() - 1).get("ts"));
        if (entries.size() > 1) {
            line.set("stamped", entries);
        }
    }

    private static ObjectNode withPath(ObjectNode line, Observation observation) {
        if (observation instanceof SingleObservation single) {
            return line.put("path", single.getPath().toString());
        }
        ArrayNode paths = line.putArray("paths");
        ((CompositeObservation) observation).getPaths().forEach(path -> paths.add(path.toString()));
        return line;
    }
}
