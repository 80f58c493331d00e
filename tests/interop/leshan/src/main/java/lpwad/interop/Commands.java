package lpwad.interop;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;
import org.eclipse.californium.core.coap.Response;
import org.eclipse.leshan.core.link.attributes.InvalidAttributeException;
import org.eclipse.leshan.core.link.lwm2m.attributes.DefaultLwM2mAttributeParser;
import org.eclipse.leshan.core.link.lwm2m.attributes.LwM2mAttributeSet;
import org.eclipse.leshan.core.model.LwM2mModel;
import org.eclipse.leshan.core.node.LwM2mNode;
import org.eclipse.leshan.core.node.LwM2mObjectInstance;
import org.eclipse.leshan.core.node.LwM2mPath;
import org.eclipse.leshan.core.node.LwM2mResource;
import org.eclipse.leshan.core.observation.Observation;
import org.eclipse.leshan.core.observation.SingleObservation;
import org.eclipse.leshan.core.request.CancelObservationRequest;
import org.eclipse.leshan.core.request.ContentFormat;
import org.eclipse.leshan.core.request.CreateRequest;
import org.eclipse.leshan.core.request.DeleteRequest;
import org.eclipse.leshan.core.request.DiscoverRequest;
import org.eclipse.leshan.core.request.DownlinkRequest;
import org.eclipse.leshan.core.request.ExecuteRequest;
import org.eclipse.leshan.core.request.ObserveCompositeRequest;
import org.eclipse.leshan.core.request.ObserveRequest;
import org.eclipse.leshan.core.request.ReadCompositeRequest;
import org.eclipse.leshan.core.request.ReadRequest;
import org.eclipse.leshan.core.request.WriteAttributesRequest;
import org.eclipse.leshan.core.request.WriteCompositeRequest;
import org.eclipse.leshan.core.request.WriteRequest;
import org.eclipse.leshan.core.response.CreateResponse;
import org.eclipse.leshan.core.response.DiscoverResponse;
import org.eclipse.leshan.core.response.LwM2mResponse;
import org.eclipse.leshan.core.response.ReadCompositeResponse;
import org.eclipse.leshan.core.response.ReadResponse;
import org.eclipse.leshan.server.LeshanServer;
import org.eclipse.leshan.server.registration.Registration;

/** From a command line to a request, and from its response to the answer. Requests run side by side. */
final class Commands {

    private static final long DEFAULT_TIMEOUT_MS = 10_000;

    private final LeshanServer server;
    private final Faults faults;
    private final Lines lines;

    Commands(LeshanServer server, Faults faults, Lines lines) {
        this.server = server;
        this.faults = faults;
        this.lines = lines;
    }

    void run(JsonNode command) {
        try {
            dispatch(command);
        } catch (InvalidAttributeException | RuntimeException error) {
            fail(command, error);
        }
    }

    private void dispatch(JsonNode command) throws InvalidAttributeException {
        switch (command.path("cmd").asText()) {
            case "read" -> read(command);
            case "write" -> write(command);
            case "execute" -> send(command, new ExecuteRequest(text(command, "path"), optional(command, "args")));
            case "create" -> create(command);
            case "delete" -> send(command, new DeleteRequest(text(command, "path")));
            case "discover" -> discover(command);
            case "write-attributes" -> writeAttributes(command);
            case "observe" -> observe(command);
            case "cancel" -> cancel(command);
            case "read-composite" -> readComposite(command);
            case "observe-composite" -> observeComposite(command);
            case "write-composite" -> writeComposite(command);
            case "clients" -> clients(command);
            case "forget" -> forget(command);
            case "lose" -> lose(command);
            default -> throw new IllegalArgumentException("unknown command " + command.path("cmd"));
        }
    }

    private void read(JsonNode command) {
        LwM2mPath path = new LwM2mPath(text(command, "path"));
        send(command, new ReadRequest(format(command, "accept"), path, null), (r, a) -> putValues(a, path, r));
    }

    private void write(JsonNode command) {
        LwM2mPath path = new LwM2mPath(text(command, "path"));
        boolean update = "update".equals(optional(command, "mode"));
        LwM2mNode node = Values.node(path, required(command, "value"), optional(command, "type"), model(command));
        send(command, new WriteRequest(update ? WriteRequest.Mode.UPDATE : WriteRequest.Mode.REPLACE,
                format(command, "format"), path, node));
    }

    private void create(JsonNode command) {
        LwM2mPath path = new LwM2mPath(text(command, "path"));
        List<LwM2mResource> resources =
                Values.resources(path.getObjectId(), required(command, "value"), model(command));
        ContentFormat format = format(command, "format");
        CreateRequest request = path.isObjectInstance()
                ? new CreateRequest(format, path.getObjectId(),
                        new LwM2mObjectInstance(path.getObjectInstanceId(), resources))
                : new CreateRequest(format, path.getObjectId(), resources);
        send(command, request, (CreateResponse r, ObjectNode a) -> a.put("location", r.getLocation()));
    }

    private void discover(JsonNode command) {
        send(command, new DiscoverRequest(text(command, "path")), (DiscoverResponse r, ObjectNode a) -> {
            a.put("links", Links.text(r.getObjectLinks()));
            a.set("objects", Links.paths(r.getObjectLinks()));
        });
    }

    private void writeAttributes(JsonNode command) throws InvalidAttributeException {
        LwM2mAttributeSet attributes = new LwM2mAttributeSet(
                new DefaultLwM2mAttributeParser().parseUriQuery(text(command, "attributes")));
        send(command, new WriteAttributesRequest(text(command, "path"), attributes));
    }

    private void observe(JsonNode command) {
        LwM2mPath path = new LwM2mPath(text(command, "path"));
        send(command, new ObserveRequest(format(command, "accept"), path, null), (r, a) -> {
            a.put("observing", r.getObservation() != null);
            putValues(a, path, r);
        });
    }

    /** Mode "active" (default) tells the client by Observe=1; "passive" only forgets, the next notification gets RST. */
    private void cancel(JsonNode command) {
        Registration registration = registration(command);
        LwM2mPath path = new LwM2mPath(text(command, "path"));
        if ("passive".equals(optional(command, "mode"))) {
            int count = server.getObservationService().cancelObservations(registration, path.toString());
            lines.put(lines.answer(command).put("ok", count > 0).put("count", count));
            return;
        }
        for (Observation observation : server.getObservationService().getObservations(registration)) {
            if (observation instanceof SingleObservation single && single.getPath().equals(path)) {
                send(command, new CancelObservationRequest(single), (r, a) -> {
                    server.getObservationService().cancelObservation(single);
                    putValues(a, path, r);
                });
                return;
            }
        }
        throw new IllegalArgumentException("no observation of " + path);
    }

    private void readComposite(JsonNode command) {
        ContentFormat format = compositeFormat(command);
        send(command, new ReadCompositeRequest(format, format, paths(command)), Commands::putComposite);
    }

    private void observeComposite(JsonNode command) {
        ContentFormat format = compositeFormat(command);
        send(command, new ObserveCompositeRequest(format, format, paths(command)), (r, a) -> {
            a.put("observing", r.getObservation() != null);
            putComposite(r, a);
        });
    }

    private void writeComposite(JsonNode command) {
        LwM2mModel model = model(command);
        Map<LwM2mPath, LwM2mNode> nodes = new HashMap<>();
        required(command, "values").fields().forEachRemaining(field -> {
            LwM2mPath path = new LwM2mPath(field.getKey());
            nodes.put(path, Values.node(path, field.getValue(), null, model));
        });
        send(command, new WriteCompositeRequest(compositeFormat(command), nodes, null));
    }

    private void clients(JsonNode command) {
        ObjectNode answer = lines.answer(command).put("ok", true);
        ArrayNode clients = answer.putArray("clients");
        server.getRegistrationService().getAllRegistrations()
                .forEachRemaining(registration -> Events.describe(clients.addObject(), registration));
        lines.put(answer);
    }

    /** The registration is gone as after a loss of the server's data: no event, the next Update gets 4.04. */
    private void forget(JsonNode command) {
        server.getRegistrationStore().removeRegistration(registration(command).getId());
        lines.put(lines.answer(command).put("ok", true));
    }

    /** Counts of messages and of DTLS datagrams to lose, -1 for all until the next such command. */
    private void lose(JsonNode command) {
        faults.loseIn(command.path("in").asInt(0));
        faults.loseOut(command.path("out").asInt(0));
        faults.loseDatagramsIn(command.path("datagrams_in").asInt(0));
        faults.loseDatagramsOut(command.path("datagrams_out").asInt(0));
        lines.put(lines.answer(command).put("ok", true));
    }

    private <T extends LwM2mResponse> void send(JsonNode command, DownlinkRequest<T> request) {
        send(command, request, (response, answer) -> {});
    }

    private <T extends LwM2mResponse> void send(JsonNode command, DownlinkRequest<T> request,
            BiConsumer<T, ObjectNode> onSuccess) {
        long timeoutMs = command.path("timeout_ms").asLong(DEFAULT_TIMEOUT_MS);
        server.send(registration(command), request, timeoutMs, response -> {
            try {
                ObjectNode answer = lines.answer(command).put("ok", response.isSuccess()).put("code", code(response));
                putFormat(answer, response);
                if (response.isSuccess()) {
                    onSuccess.accept(response, answer);
                } else if (response.getErrorMessage() != null && !response.getErrorMessage().isEmpty()) {
                    answer.put("error", response.getErrorMessage());
                }
                lines.put(answer);
            } catch (RuntimeException error) {
                fail(command, error);
            }
        }, error -> fail(command, error));
    }

    void fail(JsonNode command, Exception error) {
        lines.put(lines.answer(command).put("ok", false)
                .put("error", error.getClass().getSimpleName() + ": " + error.getMessage()));
    }

    /** The code as CoAP writes it: class, dot, two digits. */
    static String code(LwM2mResponse response) {
        int code = response.getCode().getCode();
        return String.format("%d.%02d", code / 100, code % 100);
    }

    static void putFormat(ObjectNode line, LwM2mResponse response) {
        if (response.getCoapResponse() instanceof Response coap && coap.getOptions().hasContentFormat()) {
            line.put("format", ContentFormat.fromCode(coap.getOptions().getContentFormat()).getName());
        }
    }

    private static void putValues(ObjectNode answer, LwM2mPath path, ReadResponse response) {
        answer.set("values", Values.flat(path, response.getContent()));
        if (response.getTimestampedLwM2mNode() != null) {
            answer.set("ts", Values.seconds(response.getTimestampedLwM2mNode().getTimestamp()));
        }
    }

    private static void putComposite(ReadCompositeResponse response, ObjectNode answer) {
        answer.set("values", Values.flat(response.getContent()));
    }

    private Registration registration(JsonNode command) {
        Registration registration = server.getRegistrationService().getByEndpoint(text(command, "ep"));
        if (registration == null) {
            throw new IllegalArgumentException("not registered: " + text(command, "ep"));
        }
        return registration;
    }

    private LwM2mModel model(JsonNode command) {
        return server.getModelProvider().getObjectModel(registration(command));
    }

    private static String[] paths(JsonNode command) {
        List<String> paths = new ArrayList<>();
        required(command, "paths").forEach(path -> paths.add(path.asText()));
        return paths.toArray(String[]::new);
    }

    /** Null leaves the choice to Leshan. */
    private static ContentFormat format(JsonNode command, String key) {
        String name = optional(command, key);
        if (name == null) {
            return null;
        }
        ContentFormat format = ContentFormat.fromName(name);
        if (format == null) {
            throw new IllegalArgumentException("unknown format " + name);
        }
        return format;
    }

    private static ContentFormat compositeFormat(JsonNode command) {
        ContentFormat format = format(command, "format");
        return format == null ? ContentFormat.SENML_CBOR : format;
    }

    private static JsonNode required(JsonNode command, String key) {
        if (!command.has(key)) {
            throw new IllegalArgumentException("the command needs \"" + key + "\"");
        }
        return command.get(key);
    }

    static String text(JsonNode command, String key) {
        return required(command, key).asText();
    }

    private static String optional(JsonNode command, String key) {
        return command.has(key) ? command.get(key).asText() : null;
    }
}
