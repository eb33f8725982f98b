import com.amazon.randomcutforest.RandomCutForest;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.HashMap;
import java.util.Map;

/**
 * One forest per agent. Reads "AGENT X1 X2 ..." and answers each line with the anomaly score, before the forest learns the point;
 * at the end, on standard error, "MICROSECONDS_PER_UPDATE BYTES_PER_AGENT".
 */
public class Forest {
    public static void main(String[] args) throws Exception {
        Map<String, RandomCutForest> forests = new HashMap<>();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in), 1 << 16);
        PrintStream out = new PrintStream(System.out, false);
        long before = used(), nanos = 0, n = 0;
        for (String line; (line = in.readLine()) != null; n++) {
            String[] field = line.split(" ");
            float[] point = new float[field.length - 1];
            for (int i = 0; i < point.length; i++) point[i] = Float.parseFloat(field[i + 1]);
            RandomCutForest forest = forests.computeIfAbsent(field[0], k -> RandomCutForest.builder().dimensions(point.length)
                .numberOfTrees(50).sampleSize(256).outputAfter(32).randomSeed(k.hashCode()).parallelExecutionEnabled(false).build());
            long t = System.nanoTime();
            double score = forest.getAnomalyScore(point);
            forest.update(point);
            nanos += System.nanoTime() - t;
            out.println(score);
        }
        out.flush();
        System.err.printf("%.2f %d%n", nanos / 1e3 / Math.max(n, 1), (used() - before) / Math.max(forests.size(), 1));
    }

    static long used() {
        for (int i = 0; i < 3; i++) System.gc();
        return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
    }
}
