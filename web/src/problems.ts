/** For GraphiQL, which shows every property of an error: where in a bundle it was made helps nobody. */
export function told(message: string): Error {
  const problem = new Error(message);
  delete problem.stack;
  return problem;
}
