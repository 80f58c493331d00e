package lpwad.interop;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.util.Arrays;
import java.util.stream.Collectors;
import org.eclipse.leshan.core.link.Link;

/** Lists of links (RFC 6690): of a registration, of Discover, of a Corelnk value. */
final class Links {

    private Links() {}

    static String text(Link[] links) {
        return Arrays.stream(links).map(Link::toCoreLinkFormat).collect(Collectors.joining(","));
    }

    /** The paths alone, without the root link. */
    static ArrayNode paths(Link[] links) {
        ArrayNode paths = JsonNodeFactory.instance.arrayNode();
        for (Link link : links) {
            if (!"/".equals(link.getUriReference())) {
                paths.add(link.getUriReference());
            }
        }
        return paths;
    }
}
