package lpwad.interop;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.util.ArrayList;
import java.util.List;
import org.eclipse.californium.core.config.CoapConfig;
import org.eclipse.californium.core.network.Endpoint;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.leshan.core.endpoint.Protocol;
import org.eclipse.leshan.core.model.ObjectLoader;
import org.eclipse.leshan.core.model.ObjectModel;
import org.eclipse.leshan.server.LeshanServer;
import org.eclipse.leshan.server.LeshanServerBuilder;
import org.eclipse.leshan.server.californium.endpoint.CaliforniumServerEndpointsProvider;
import org.eclipse.leshan.server.californium.endpoint.ServerProtocolProvider;
import org.eclipse.leshan.server.californium.endpoint.coap.CoapServerProtocolProvider;
import org.eclipse.leshan.server.model.VersionedModelProvider;
import org.eclipse.leshan.server.queue.StaticClientAwakeTimeProvider;

/**
 * A Leshan server driven by JSON lines: commands on standard input, answers and events on standard output. The lines
 * are described in README.md. It ends with its standard input.
 */
public final class Harness {

    private final LeshanServer server;
    private final Dtls dtls;
    private final Security security = new Security();
    private final Faults faults = new Faults();
    private final CaliforniumServerEndpointsProvider endpoints;
    private final Commands commands;
    private final Lines lines;

    private Harness(Options options, Lines lines) throws IOException {
        this.lines = lines;
        dtls = options.coaps == null ? null : new Dtls(lines, faults);
        endpoints = endpoints(options);
        server = new LeshanServerBuilder()
                .setObjectModelProvider(new VersionedModelProvider(models(options.models)))
                .setClientAwakeTimeProvider(new StaticClientAwakeTimeProvider(options.awakeMs))
                .setSecurityStore(security.store)
                .setAuthorizer(security.authorizer(options.clearToo))
                .setPrivateKey(options.privateKey)
                .setPublicKey(options.chain == null ? options.publicKey : null)
                .setCertificateChain(options.chain)
                .setTrustedCertificates(options.trusted)
                .setEndpointsProviders(endpoints)
                .build();
        Events events = new Events(lines);
        server.getRegistrationService().addListener(events);
        server.getObservationService().addListener(events);
        server.getSendService().addListener(events);
        server.getPresenceService().addListener(events);
        server.start();
        if (dtls != null && server.getEndpoint(Protocol.COAPS) == null) {
            throw new IllegalStateException("no CoAP over DTLS with these options; the log says why");
        }
        endpoints.getCoapServer().getEndpoints().forEach(endpoint -> endpoint.addInterceptor(faults));
        commands = new Commands(server, faults, lines);
    }

    private CaliforniumServerEndpointsProvider endpoints(Options options) {
        List<ServerProtocolProvider> providers = new ArrayList<>(List.of(new CoapServerProtocolProvider()));
        if (dtls != null) {
            providers.add(dtls);
        }
        CaliforniumServerEndpointsProvider.Builder builder = new CaliforniumServerEndpointsProvider.Builder(
                providers.toArray(ServerProtocolProvider[]::new)).addEndpoint(options.coap, Protocol.COAP);
        if (dtls != null) {
            builder.addEndpoint(options.coaps, Protocol.COAPS);
        }
        return builder.setConfiguration((Configuration configuration) -> {
            if (options.blockSize != null) {
                configuration.set(CoapConfig.PREFERRED_BLOCK_SIZE, options.blockSize);
            }
            if (dtls != null) {
                Dtls.configure(configuration, options);
            }
        }).build();
    }

    public static void main(String[] args) throws IOException, GeneralSecurityException {
        Lines lines = new Lines(System.out);
        Harness harness = new Harness(Options.parse(args), lines);
        lines.put(harness.ports(lines.event("ready")));
        harness.serve(new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)));
        harness.server.destroy();
        System.exit(0);
    }

    private void serve(BufferedReader input) throws IOException {
        ObjectMapper mapper = new ObjectMapper();
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            if (line.isBlank()) {
                continue;
            }
            JsonNode command;
            try {
                command = mapper.readTree(line);
            } catch (IOException error) {
                lines.put(lines.event("error").put("detail", "not JSON: " + line));
                continue;
            }
            if ("quit".equals(command.path("cmd").asText())) {
                lines.put(lines.answer(command).put("ok", true));
                return;
            }
            try {
                run(command);
            } catch (IOException | RuntimeException error) {
                commands.fail(command, error);
            }
        }
    }

    /** What concerns the server as a whole; the rest concerns its clients. */
    private void run(JsonNode command) throws IOException {
        ObjectNode answer = lines.answer(command).put("ok", true);
        switch (command.path("cmd").asText()) {
            case "security-add" -> lines.put(answer.put("replaced", security.add(command)));
            case "security-remove" -> lines.put(answer.put("removed", security.remove(command)));
            case "dtls-forget" -> {
                requireDtls();
                dtls.forget();
                lines.put(answer);
            }
            case "dtls-restart" -> {
                requireDtls();
                Endpoint endpoint = endpoints.getCoapServer().getEndpoint(server.getEndpoint(Protocol.COAPS).getURI());
                endpoint.stop();
                endpoint.start();
                lines.put(answer);
            }
            default -> commands.run(command);
        }
    }

    private void requireDtls() {
        if (dtls == null) {
            throw new IllegalStateException("there is no DTLS without --coaps");
        }
    }

    private ObjectNode ports(ObjectNode line) {
        line.put("port", server.getEndpoint(Protocol.COAP).getURI().getPort());
        if (dtls != null) {
            line.put("coaps_port", server.getEndpoint(Protocol.COAPS).getURI().getPort());
        }
        return line;
    }

    private static List<ObjectModel> models(File directory) throws IOException {
        if (!directory.isDirectory()) {
            throw new IOException("no directory of object models: " + directory);
        }
        List<ObjectModel> models = new ArrayList<>(ObjectLoader.loadAllDefault());
        models.addAll(ObjectLoader.loadObjectsFromDir(directory, true));
        return models;
    }
}
