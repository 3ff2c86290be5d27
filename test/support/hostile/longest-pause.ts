/**
 * The longest time, in milliseconds, for which `work` let nothing else run on this thread. Counts the processor time of
 * the thread, so it is the same on a busy machine.
 */
export async function longestPause(work: () => Promise<void>): Promise<number> {
  let [last, longest] = [used(), 0];
  const look = () => {
    const now = used();
    longest = Math.max(longest, now - last);
    last = now;
  };
  const timer = setInterval(look, 5);
  await work();
  look();
  clearInterval(timer);
  return Math.round(longest);
}

function used(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
