package lpwad.interop;

import java.util.concurrent.atomic.AtomicInteger;
import org.eclipse.californium.core.coap.EmptyMessage;
import org.eclipse.californium.core.coap.Message;
import org.eclipse.californium.core.coap.Request;
import org.eclipse.californium.core.coap.Response;
import org.eclipse.californium.core.network.interceptors.MessageInterceptor;

/** Loses the next messages or DTLS datagrams of a direction, as a bad network or an absent server would. */
final class Faults implements MessageInterceptor {

    private final AtomicInteger loseIn = new AtomicInteger();
    private final AtomicInteger loseOut = new AtomicInteger();
    private final AtomicInteger loseDatagramsIn = new AtomicInteger();
    private final AtomicInteger loseDatagramsOut = new AtomicInteger();

    /** -1 loses all until it is set again. */
    void loseIn(int count) {
        loseIn.set(count);
    }

    /** -1 loses all until it is set again. */
    void loseOut(int count) {
        loseOut.set(count);
    }

    /** -1 loses all until it is set again. */
    void loseDatagramsIn(int count) {
        loseDatagramsIn.set(count);
    }

    /** -1 loses all until it is set again. */
    void loseDatagramsOut(int count) {
        loseDatagramsOut.set(count);
    }

    boolean losesDatagramIn() {
        return loses(loseDatagramsIn);
    }

    boolean losesDatagramOut() {
        return loses(loseDatagramsOut);
    }

    @Override
    public void sendRequest(Request request) {
        lose(request, loseOut);
    }

    @Override
    public void sendResponse(Response response) {
        lose(response, loseOut);
    }

    @Override
    public void sendEmptyMessage(EmptyMessage message) {
        lose(message, loseOut);
    }

    @Override
    public void receiveRequest(Request request) {
        lose(request, loseIn);
    }

    @Override
    public void receiveResponse(Response response) {
        lose(response, loseIn);
    }

    @Override
    public void receiveEmptyMessage(EmptyMessage message) {
        lose(message, loseIn);
    }

    private static void lose(Message message, AtomicInteger left) {
        if (loses(left)) {
            message.setCanceled(true);
        }
    }

    private static boolean loses(AtomicInteger left) {
        return left.getAndUpdate(count -> count > 0 ? count - 1 : count) != 0;
    }
}
