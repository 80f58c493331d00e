package lpwad.interop;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.eclipse.leshan.core.endpoint.Protocol;
import org.eclipse.leshan.core.model.ObjectLoader;
import org.eclipse.leshan.core.model.ObjectModel;
import org.eclipse.leshan.server.LeshanServer;
import org.eclipse.leshan.server.LeshanServerBuilder;
import org.eclipse.leshan.server.californium.endpoint.CaliforniumServerEndpointsProvider;
import org.eclipse.leshan.server.californium.endpoint.coap.CoapServerProtocolProvider;
import org.eclipse.leshan.server.model.VersionedModelProvider;
import org.eclipse.leshan.server.queue.StaticClientAwakeTimeProvider;

/**
 * A Leshan server driven by JSON lines: commands on standard input, answers and events on standard output. The lines
 * are described in README.md. It ends with its standard input.
 */
public final class Harness {

    private final LeshanServer server;
    private final Commands commands;
    private final Lines lines;

    private Harness(Options options, Lines lines) throws IOException {
        this.lines = lines;
        // Further transports are further protocol providers here: CoapsServerProtocolProvider with a security store.
        CaliforniumServerEndpointsProvider endpoints =
                new CaliforniumServerEndpointsProvider.Builder(new CoapServerProtocolProvider())
                        .addEndpoint(options.coap, Protocol.COAP)
                        .build();
        server = new LeshanServerBuilder()
                .setObjectModelProvider(new VersionedModelProvider(models(options.models)))
                .setClientAwakeTimeProvider(new StaticClientAwakeTimeProvider(options.awakeMs))
                .setEndpointsProviders(endpoints)
                .build();
        Events events = new Events(lines);
        server.getRegistrationService().addListener(events);
        server.getObservationService().addListener(events);
        server.getSendService().addListener(events);
        server.getPresenceService().addListener(events);
        server.start();
        Faults faults = new Faults();
        endpoints.getCoapServer().getEndpoints().forEach(endpoint -> endpoint.addInterceptor(faults));
        commands = new Commands(server, faults, lines);
    }

    public static void main(String[] args) throws IOException {
        Lines lines = new Lines(System.out);
        Harness harness = new Harness(Options.parse(args), lines);
        lines.put(lines.event("ready").put("port", harness.server.getEndpoint(Protocol.COAP).getURI().getPort()));
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
            commands.run(command);
        }
    }

    private static List<ObjectModel> models(File directory) throws IOException {
        if (!directory.isDirectory()) {
            throw new IOException("no directory of object models: " + directory);
        }
        List<ObjectModel> models = new ArrayList<>(ObjectLoader.loadAllDefault());
        models.addAll(ObjectLoader.loadObjectsFromDir(directory, true));
        return models;
    }

    /** What the command line says. */
    private static final class Options {
        InetSocketAddress coap = new InetSocketAddress("127.0.0.1", 0);
        File models;
        int awakeMs = 93_000;

        static Options parse(String[] args) {
            Options options = new Options();
            for (int i = 0; i < args.length; i += 2) {
                if (i + 1 == args.length) {
                    throw new IllegalArgumentException(args[i] + " needs a value");
                }
                String value = args[i + 1];
                switch (args[i]) {
                    case "--coap" -> options.coap = address(value);
                    case "--models" -> options.models = new File(value);
                    case "--awake-ms" -> options.awakeMs = Integer.parseInt(value);
                    default -> throw new IllegalArgumentException(
                            "unknown option " + args[i] + "; there are --coap HOST:PORT, --models DIR, --awake-ms MS");
                }
            }
            if (options.models == null) {
                options.models = besideTheJar();
            }
            return options;
        }

        private static InetSocketAddress address(String text) {
            int colon = text.lastIndexOf(':');
            return new InetSocketAddress(text.substring(0, colon), Integer.parseInt(text.substring(colon + 1)));
        }

        /** The jar lies in target/, the models beside that directory. */
        private static File besideTheJar() {
            String code = Harness.class.getProtectionDomain().getCodeSource().getLocation().getPath();
            return new File(new File(code).getParentFile().getParentFile(), "models");
        }
    }
}
