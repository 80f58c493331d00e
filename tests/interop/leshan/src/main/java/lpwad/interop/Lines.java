package lpwad.interop;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/** Standard output: whole lines only, from whichever thread. */
final class Lines {

    private final PrintStream out;

    Lines(PrintStream out) {
        this.out = out;
    }

    ObjectNode event(String name) {
        return JsonNodeFactory.instance.objectNode().put("event", name);
    }

    /** An answer carries the id of its command, whatever that is. */
    ObjectNode answer(JsonNode command) {
        ObjectNode answer = JsonNodeFactory.instance.objectNode();
        if (command.has("id")) {
            answer.set("id", command.get("id"));
        }
        return answer;
    }

    synchronized void put(ObjectNode line) {
        byte[] bytes = (line + "\n").getBytes(StandardCharsets.UTF_8);
        out.write(bytes, 0, bytes.length);
        out.flush();
    }
}
