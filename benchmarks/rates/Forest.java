// Scores series of counts by Amazon's random cut forest: one series a line on standard input, numbers
// separated by blanks; the same shape comes out.
//
//   java -cp JARS Forest.java score SEED    the anomaly score of RandomCutForest
//   java -cp JARS Forest.java grade SEED    the anomaly grade of ThresholdedRandomCutForest, built as
//                                           OpenSearch's anomaly detection builds it
//
// Shingle 8, 30 trees, samples of 256: OpenSearch's defaults. Each value is scored before it is learnt.

import com.amazon.randomcutforest.RandomCutForest;
import com.amazon.randomcutforest.config.ForestMode;
import com.amazon.randomcutforest.config.ImputationMethod;
import com.amazon.randomcutforest.config.Precision;
import com.amazon.randomcutforest.config.TransformMethod;
import com.amazon.randomcutforest.parkservices.ThresholdedRandomCutForest;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Arrays;
import java.util.StringJoiner;

public class Forest {
    static final int SHINGLE = 8, TREES = 30, SAMPLE = 256, BEFORE_OUTPUT = 32;
    static final double DECAY = 1.0 / (10 * SAMPLE), RATE = 0.005;

    public static void main(String[] arguments) throws Exception {
        boolean graded = arguments[0].equals("grade");
        long seed = Long.parseLong(arguments[1]);
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            double[] series =
                    Arrays.stream(line.split(" ")).mapToDouble(Double::parseDouble).toArray();
            double[] scores = graded ? grades(series, seed) : scores(series, seed);
            StringJoiner output = new StringJoiner(" ");
            for (double score : scores) {
                output.add(Double.toString(score));
            }
            System.out.println(output);
        }
    }

    static double[] scores(double[] series, long seed) {
        RandomCutForest forest = RandomCutForest.builder()
                .dimensions(SHINGLE)
                .shingleSize(SHINGLE)
                .numberOfTrees(TREES)
                .sampleSize(SAMPLE)
                .timeDecay(DECAY)
                .outputAfter(BEFORE_OUTPUT)
                .precision(Precision.FLOAT_32)
                .randomSeed(seed)
                .build();
        double[] scores = new double[series.length];
        for (int now = SHINGLE - 1; now < series.length; now++) {
            double[] point = Arrays.copyOfRange(series, now - SHINGLE + 1, now + 1);
            scores[now] = forest.getAnomalyScore(point);
            forest.update(point);
        }
        return scores;
    }

    static double[] grades(double[] series, long seed) {
        ThresholdedRandomCutForest forest = ThresholdedRandomCutForest.builder()
                .dimensions(SHINGLE)
                .shingleSize(SHINGLE)
                .numberOfTrees(TREES)
                .sampleSize(SAMPLE)
                .timeDecay(DECAY)
                .transformDecay(DECAY)
                .outputAfter(BEFORE_OUTPUT)
                .initialAcceptFraction(0.125)
                .compact(true)
                .precision(Precision.FLOAT_32)
                .internalShinglingEnabled(true)
                .anomalyRate(RATE)
                .transformMethod(TransformMethod.NORMALIZE)
                .alertOnce(true)
                .autoAdjust(true)
                .forestMode(ForestMode.STREAMING_IMPUTE)
                .imputationMethod(ImputationMethod.ZERO)
                .randomSeed(seed)
                .build();
        double[] grades = new double[series.length];
        for (int now = 0; now < series.length; now++) {
            grades[now] = forest.process(new double[] {series[now]}, 60L * (now + 1))
                    .getAnomalyGrade();
        }
        return grades;
    }
}
