package lpwad.interop;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.security.GeneralSecurityException;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.List;
import org.eclipse.californium.elements.util.SslContextUtil;
import org.eclipse.californium.scandium.dtls.cipher.CipherSuite;

/** What the command line says. */
final class Options {

    InetSocketAddress coap = new InetSocketAddress("127.0.0.1", 0);
    /** Null: no CoAP over DTLS. */
    InetSocketAddress coaps;
    File models;
    int awakeMs = 93_000;
    /** An endpoint with a credential may also come without. */
    boolean clearToo;
    /** Null: Californium's own. */
    Integer blockSize;
    /** Null: those of RFC 7925 for which there are credentials. */
    List<CipherSuite> suites;
    /** Null: the extension is not answered. 0: the server needs none of its own, but writes those of clients. */
    Integer connectionIdLength;
    PrivateKey privateKey;
    PublicKey publicKey;
    X509Certificate[] chain;
    Certificate[] trusted;

    static Options parse(String[] args) throws IOException, GeneralSecurityException {
        Options options = new Options();
        for (int i = 0; i < args.length; i += 2) {
            if (i + 1 == args.length) {
                throw new IllegalArgumentException(args[i] + " needs a value");
            }
            options.set(args[i], args[i + 1]);
        }
        if (options.models == null) {
            options.models = besideTheJar();
        }
        if (options.chain != null && options.privateKey == null) {
            throw new IllegalArgumentException("--cert needs --key");
        }
        return options;
    }

    private void set(String name, String value) throws IOException, GeneralSecurityException {
        switch (name) {
            case "--coap" -> coap = address(value);
            case "--coaps" -> coaps = address(value);
            case "--clear-too" -> clearToo = Boolean.parseBoolean(value);
            case "--models" -> models = new File(value);
            case "--awake-ms" -> awakeMs = Integer.parseInt(value);
            case "--block-size" -> blockSize = Integer.valueOf(value);
            case "--suites" -> suites = suites(value);
            case "--cid" -> connectionIdLength = Integer.valueOf(value);
            case "--key" -> {
                try (InputStream pem = new FileInputStream(value)) {
                    SslContextUtil.Credentials key = SslContextUtil.loadPemCredentials(pem);
                    privateKey = key.getPrivateKey();
                    publicKey = key.getPublicKey();
                }
                if (privateKey == null || publicKey == null) {
                    throw new IllegalArgumentException(value + " has no private key, or not its public key");
                }
            }
            case "--cert" -> chain = certificates(value);
            case "--trust" -> trusted = certificates(value);
            default -> throw new IllegalArgumentException("unknown option " + name
                    + "; there are --coap HOST:PORT, --coaps HOST:PORT, --clear-too true, --models DIR, --awake-ms MS, --block-size BYTES,"
                    + " --suites NAME,.., --cid LENGTH, --key FILE, --cert FILE, --trust FILE");
        }
    }

    private static X509Certificate[] certificates(String file) throws IOException, GeneralSecurityException {
        try (InputStream pem = new FileInputStream(file)) {
            return CertificateFactory.getInstance("X.509").generateCertificates(pem).toArray(X509Certificate[]::new);
        }
    }

    private static List<CipherSuite> suites(String names) {
        List<CipherSuite> suites = new ArrayList<>();
        for (String name : names.split(",")) {
            CipherSuite suite = CipherSuite.getTypeByName(name);
            if (suite == null) {
                throw new IllegalArgumentException("unknown cipher suite " + name);
            }
            suites.add(suite);
        }
        return suites;
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
