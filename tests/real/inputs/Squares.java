// SPDX-License-Identifier: Apache-2.0
import java.util.HashMap;
import java.util.Map;
import java.util.zip.Deflater;

class Squares {
	private static void count(int from, long[] sums) {
		final Map<Integer, String> squares = new HashMap<>();

		for (int i = from; i < from + 50_000; i++)
			squares.put(i, "the square of " + i + " is " + (long) i * i);
		for (final String text : squares.values())
			sums[from % sums.length] += text.hashCode();
	}

	public static void main(String[] arguments) throws InterruptedException {
		final long[] sums = new long[4];
		final Thread[] threads = new Thread[4];
		final Deflater deflater = new Deflater();
		final byte[] packed = new byte[100_000];

		for (int i = 0; i < threads.length; i++) {
			final int from = i;
			threads[i] = new Thread(() -> count(from, sums));
			threads[i].start();
		}
		for (final Thread thread : threads)
			thread.join();
		for (final long sum : sums)
			System.out.println(sum);

		deflater.setInput(new byte[1_000_000]);
		deflater.finish();
		System.out.println(deflater.deflate(packed));
		deflater.end();
		System.err.println("done");
		System.exit(3);
	}
}
