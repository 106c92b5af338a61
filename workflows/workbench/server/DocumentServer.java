import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import de.bwaldvogel.mongo.bson.Document;
import java.util.Set;
import java.util.Timer;
import java.util.TimerTask;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.h2.mvstore.MVStore;

/**
 * A server that speaks MongoDB's protocol and keeps its data in one file: java -cp 'lib/*' DocumentServer.java FILE PORT [lazy|stock|memory]
 *
 * What a command wrote is in the file before the command is answered, as with a journaled majority write concern; with
 * "lazy" it is written once a second, so that a killed server comes back a second younger. The file is written between
 * commands: in their midst, as the store does by itself, a kill leaves documents that their own unique index does not know,
 * which a MongoDB does only without its journal. "stock" is the package's own main, which does so, once a second or earlier.
 * With "memory" nothing is written at all: a scan is quicker there, for measuring clients.
 */
public class DocumentServer {
    private static final Set<String> READS = Set.of(
            "find", "getmore", "aggregate", "count", "distinct", "ismaster", "hello", "ping", "buildinfo", "listcollections",
            "listindexes", "listdatabases", "killcursors", "endsessions", "serverstatus", "collstats", "dbstats", "getlog");

    public static void main(String[] arguments) {
        String mode = arguments.length > 2 ? arguments[2] : "";
        MongoBackend backend = mode.equals("memory") ? new MemoryBackend()
                : mode.equals("stock") ? new H2Backend(arguments[0])
                : onFile(arguments[0], mode.equals("lazy"));
        MongoServer server = new MongoServer(backend);
        server.bind("127.0.0.1", Integer.parseInt(arguments[1]));
        System.out.println("listening on port " + server.getLocalAddress().getPort());
    }

    private static MongoBackend onFile(String file, boolean lazy) {
        MVStore store = new MVStore.Builder().fileName(file).autoCommitBufferSize(0).open();
        store.setAutoCommitDelay(0);
        ReadWriteLock turn = new ReentrantReadWriteLock(true); // commands share it, the writing of the file has it alone
        H2Backend backend = new H2Backend(store) {
            @Override
            public void commit() {
                turn.writeLock().lock();
                try {
                    super.commit();
                } finally {
                    turn.writeLock().unlock();
                }
            }

            @Override
            public Document handleMessage(MongoMessage message) {
                turn.readLock().lock();
                Document answer;
                try {
                    answer = super.handleMessage(message);
                } finally {
                    turn.readLock().unlock();
                }
                if (!lazy && !READS.contains(message.getDocument().keySet().iterator().next().toLowerCase())) {
                    commit();
                }
                return answer;
            }
        };
        if (lazy) {
            new Timer(true).scheduleAtFixedRate(new TimerTask() {
                @Override
                public void run() {
                    backend.commit();
                }
            }, 1000, 1000);
        }
        return backend;
    }
}
