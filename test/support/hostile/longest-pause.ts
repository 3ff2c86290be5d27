/** Does `work`. @returns the longest time, in milliseconds, for which the event loop was blocked meanwhile. */
export async function longestPause(work: () => Promise<void>): Promise<number> {
  let [last, longest] = [performance.now(), 0];
  const look = () => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  };
  const timer = setInterval(look, 5);
  await work();
  look();
  clearInterval(timer);
  return Math.round(longest);
}
