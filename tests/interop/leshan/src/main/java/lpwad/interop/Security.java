package lpwad.interop;

import com.fasterxml.jackson.databind.JsonNode;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.spec.X509EncodedKeySpec;
import java.util.Base64;
import org.eclipse.leshan.core.util.Hex;
import org.eclipse.leshan.server.security.Authorization;
import org.eclipse.leshan.server.security.Authorizer;
import org.eclipse.leshan.server.security.DefaultAuthorizer;
import org.eclipse.leshan.server.security.InMemorySecurityStore;
import org.eclipse.leshan.server.security.NonUniqueSecurityInfoException;
import org.eclipse.leshan.server.security.SecurityInfo;

/** Which client may come with which credential. */
final class Security {

    final InMemorySecurityStore store = new InMemorySecurityStore();

    /** Leshan's own rules; with {@code clearToo} anybody may come in clear as well, whatever the store says. */
    Authorizer authorizer(boolean clearToo) {
        Authorizer rules = new DefaultAuthorizer(store);
        return (request, registration, sender) -> clearToo && !sender.getIdentity().isSecure()
                ? Authorization.approved()
                : rules.isAuthorized(request, registration, sender);
    }

    /** Replaces what is there for the endpoint; answers whether there was something. */
    boolean add(JsonNode command) {
        String endpoint = Commands.text(command, "ep");
        SecurityInfo info = switch (Commands.text(command, "mode")) {
            case "psk" -> SecurityInfo.newPreSharedKeyInfo(endpoint, Commands.text(command, "identity"),
                    Hex.decodeHex(Commands.text(command, "key").toCharArray()));
            case "rpk" -> SecurityInfo.newRawPublicKeyInfo(endpoint, publicKey(Commands.text(command, "public_key")));
            case "x509" -> SecurityInfo.newX509CertInfo(endpoint);
            default -> throw new IllegalArgumentException("mode is psk, rpk or x509");
        };
        try {
            return store.add(info) != null;
        } catch (NonUniqueSecurityInfoException error) {
            throw new IllegalArgumentException("the identity belongs to another endpoint", error);
        }
    }

    /** With "compromised" the live connections of the client end too; answers whether there was something. */
    boolean remove(JsonNode command) {
        return store.remove(Commands.text(command, "ep"), command.path("compromised").asBoolean()) != null;
    }

    /** Hex digits of a SubjectPublicKeyInfo, or its PEM. */
    private static PublicKey publicKey(String text) {
        try {
            byte[] der = text.startsWith("-----BEGIN")
                    ? Base64.getMimeDecoder().decode(text.replaceAll("-----[^-]+-----", ""))
                    : Hex.decodeHex(text.toCharArray());
            return KeyFactory.getInstance("EC").generatePublic(new X509EncodedKeySpec(der));
        } catch (GeneralSecurityException error) {
            throw new IllegalArgumentException("public_key: " + error.getMessage(), error);
        }
    }
}
