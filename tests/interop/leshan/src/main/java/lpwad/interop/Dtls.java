package lpwad.interop;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.net.DatagramPacket;
import java.net.InetSocketAddress;
import java.net.URI;
import java.security.Principal;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.eclipse.californium.elements.Connector;
import org.eclipse.californium.elements.auth.PreSharedKeyIdentity;
import org.eclipse.californium.elements.auth.RawPublicKeyIdentity;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.scandium.AlertHandler;
import org.eclipse.californium.scandium.ConnectionListener;
import org.eclipse.californium.scandium.DTLSConnector;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.californium.scandium.config.DtlsConnectorConfig;
import org.eclipse.californium.scandium.dtls.AlertMessage;
import org.eclipse.californium.scandium.dtls.Connection;
import org.eclipse.californium.scandium.dtls.DTLSContext;
import org.eclipse.californium.scandium.dtls.DTLSSession;
import org.eclipse.californium.scandium.dtls.HandshakeException;
import org.eclipse.californium.scandium.dtls.Handshaker;
import org.eclipse.californium.scandium.dtls.SessionListener;
import org.eclipse.californium.scandium.dtls.cipher.CipherSuite;
import org.eclipse.leshan.core.util.Hex;
import org.eclipse.leshan.server.californium.endpoint.CaliforniumServerEndpointFactory;
import org.eclipse.leshan.server.californium.endpoint.coaps.CoapsServerEndpointFactory;
import org.eclipse.leshan.server.californium.endpoint.coaps.CoapsServerProtocolProvider;

/** CoAP over DTLS: its settings, and what happens in it as event lines. */
final class Dtls extends CoapsServerProtocolProvider implements SessionListener, ConnectionListener, AlertHandler {

    private final Lines lines;
    private final Faults faults;
    private DTLSConnector connector;

    Dtls(Lines lines, Faults faults) {
        this.lines = lines;
        this.faults = faults;
    }

    /** What RFC 7925 asks for, and nothing that it forbids. */
    static void configure(Configuration configuration, Options options) {
        List<CipherSuite> suites = options.suites;
        if (suites == null) {
            suites = new ArrayList<>(List.of(CipherSuite.TLS_PSK_WITH_AES_128_CCM_8));
            if (options.privateKey != null) {
                suites.add(CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8);
            }
        }
        configuration.set(DtlsConfig.DTLS_RECOMMENDED_CIPHER_SUITES_ONLY, false);
        configuration.set(DtlsConfig.DTLS_CIPHER_SUITES, suites);
        configuration.set(DtlsConfig.DTLS_SERVER_USE_SESSION_ID, true);
        configuration.set(DtlsConfig.DTLS_CONNECTION_ID_LENGTH, options.connectionIdLength);
        // RFC 7925 section 11.
        configuration.set(DtlsConfig.DTLS_RETRANSMISSION_TIMEOUT, 9, TimeUnit.SECONDS);
    }

    /** Sessions and connections are lost as after a restart of the process; clients are told nothing. */
    void forget() {
        connector.clearConnectionState();
    }

    @Override
    public CaliforniumServerEndpointFactory createDefaultEndpointFactory(URI uri) {
        return new CoapsServerEndpointFactory(uri, null, null,
                builder -> builder.setSessionListener(this).setConnectionListener(this), null) {
            @Override
            protected Connector createConnector(DtlsConnectorConfig configuration) {
                connector = new Lossy(configuration);
                connector.setAlertHandler(Dtls.this);
                return connector;
            }
        };
    }

    // What happens.

    @Override
    public void handshakeStarted(Handshaker handshaker) {}

    /** Both Finished were right. Scandium calls it completed only after the first data of the client. */
    @Override
    public void contextEstablished(Handshaker handshaker, DTLSContext context) {
        DTLSSession session = context.getSession();
        ObjectNode line = peer(lines.event("handshake"), handshaker.getPeerAddress());
        line.put("resumed", !handshaker.isFullHandshake());
        putIdentity(line, session.getPeerIdentity());
        line.put("suite", session.getCipherSuite().name());
        line.put("max_fragment", session.getMaxFragmentLength());
        line.put("ems", session.useExtendedMasterSecret());
        line.put("cid", context.getWriteConnectionId() != null);
        line.put("session", session.getSessionIdentifier().getAsString().toLowerCase());
        lines.put(line);
    }

    @Override
    public void handshakeCompleted(Handshaker handshaker) {}

    @Override
    public void handshakeFailed(Handshaker handshaker, Throwable error) {
        ObjectNode line = peer(lines.event("handshake-failed"), handshaker.getPeerAddress());
        if (error instanceof HandshakeException failure && failure.getAlert() != null) {
            line.put("alert", failure.getAlert().getDescription().getCode());
        }
        lines.put(line.put("detail", error.getClass().getSimpleName() + ": " + error.getMessage()));
    }

    @Override
    public void handshakeFlightRetransmitted(Handshaker handshaker, int flight) {
        lines.put(peer(lines.event("retransmitted"), handshaker.getPeerAddress()).put("flight", flight));
    }

    /** The first alert of a connection: received, sent, or kept back (an unknown identity is not answered). */
    @Override
    public void onAlert(InetSocketAddress peer, AlertMessage alert) {
        lines.put(peer(lines.event("alert"), peer)
                .put("level", alert.getLevel().getCode())
                .put("alert", alert.getDescription().getCode())
                .put("name", alert.getDescription().name().toLowerCase()));
    }

    /** Told at the 1st, 2nd, 4th, 8th, .. of a connection: a flood of forged records is no flood of lines. */
    @Override
    public boolean onConnectionMacError(Connection connection) {
        DTLSContext context = connection.getDtlsContext();
        long count = context == null ? 0 : context.getMacErrors();
        if (Long.bitCount(count) <= 1) {
            lines.put(peer(lines.event("mac-error"), connection.getPeerAddress())
                    .put("count", count)
                    .put("in_handshake", connection.hasOngoingHandshake()));
        }
        return false;
    }

    @Override
    public void onConnectionEstablished(Connection connection) {}

    @Override
    public void onConnectionRemoved(Connection connection) {}

    @Override
    public boolean onConnectionUpdatesSequenceNumbers(Connection connection, boolean writeSequenceNumber) {
        return false;
    }

    @Override
    public void beforeExecution(Connection connection) {}

    @Override
    public void updateExecution(Connection connection) {}

    @Override
    public void afterExecution(Connection connection) {}

    private static ObjectNode peer(ObjectNode line, InetSocketAddress peer) {
        if (peer != null) {
            line.put("address", peer.getAddress().getHostAddress()).put("port", peer.getPort());
        }
        return line;
    }

    private static void putIdentity(ObjectNode line, Principal identity) {
        if (identity instanceof PreSharedKeyIdentity psk) {
            line.put("mode", "psk").put("identity", psk.getIdentity());
        } else if (identity instanceof RawPublicKeyIdentity rpk) {
            line.put("mode", "rpk").put("identity", Hex.encodeHexString(rpk.getSubjectInfo()));
        } else if (identity != null) {
            line.put("mode", "x509").put("identity", identity.getName());
        }
    }

    /** Loses whole datagrams, those of handshakes as well; stays at its port. */
    private final class Lossy extends DTLSConnector {

        private InetSocketAddress bound;

        Lossy(DtlsConnectorConfig configuration) {
            super(configuration);
        }

        @Override
        protected void start(InetSocketAddress address) throws IOException {
            super.start(bound == null ? address : bound);
            bound = getAddress();
        }

        @Override
        protected void processDatagram(DatagramPacket packet, InetSocketAddress router) {
            if (!faults.losesDatagramIn()) {
                super.processDatagram(packet, router);
            }
        }

        @Override
        protected void sendNextDatagramOverNetwork(DatagramPacket packet) throws IOException {
            if (!faults.losesDatagramOut()) {
                super.sendNextDatagramOverNetwork(packet);
            }
        }
    }
}
