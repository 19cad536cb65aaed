// @ts-check
import assert from "node:assert/strict";
import test from "node:test";
import { createConnection } from "../../cutwidgets/panel/static/connection.js";
import { createClock } from "./fakes.js";

function start() {
  const clock = createClock();
  /** @type {string[]} */
  const states = [];
  const front = { gone: false, probes: 0 };
  const connection = createConnection({
    timers: clock.timers,
    probe: () => void (front.probes += 1),
    isGone: () => front.gone,
    changed: (state) => void states.push(state),
  });
  return { clock, states, front, connection };
}

test("an answer within a second changes nothing", () => {
  const { clock, states, front, connection } = start();
  connection.asked();
  clock.run(900);
  connection.heard(false);
  clock.run(120_000);
  assert.deepEqual(states, []);
  assert.equal(front.probes, 0);
  assert.equal(clock.waiting(), 0);
});

test("a kernel that is busy is called so after a second, and lost only after a minute", () => {
  const { clock, states, front, connection } = start();
  connection.asked();
  clock.run(999);
  assert.equal(connection.state(), "live");
  clock.run(1);
  assert.equal(connection.state(), "busy");
  clock.run(58_999);
  assert.equal(connection.state(), "busy");
  assert.ok(front.probes > 10);
  clock.run(1);
  assert.deepEqual(states, ["busy", "lost"]);
  assert.equal(clock.waiting(), 0);
});

test("further questions do not put off that the kernel is lost", () => {
  const { clock, connection } = start();
  connection.asked();
  for (let second = 0; second < 60; second++) {
    clock.run(1000);
    if (second < 59) connection.asked();
  }
  assert.equal(connection.state(), "lost");
});

test("a kernel that was restarted reads the probe and answers nothing: lost within 10 s", () => {
  const { clock, front, connection } = start();
  connection.asked();
  let spent = 0;
  for (; connection.state() !== "lost" && spent < 60_000; spent += 100) {
    clock.run(100);
    if (front.probes) connection.read(connection.sent());
  }
  assert.ok(spent <= 10_000, `${spent}`);
});

test("a kernel that read the question and answers soon after is not lost", () => {
  const { clock, connection } = start();
  connection.asked();
  connection.read(connection.sent());
  clock.run(500);
  connection.heard(false);
  clock.run(60_000);
  assert.equal(connection.state(), "live");
});

test("what was read while nothing is awaited loses nothing", () => {
  const { clock, connection } = start();
  connection.read(connection.sent());
  clock.run(60_000);
  assert.equal(connection.state(), "live");
});

test("where the front end knows that the kernel is gone, it is lost at once", () => {
  const { clock, states, front, connection } = start();
  front.gone = true;
  connection.asked();
  assert.deepEqual(states, ["lost"]);
  front.gone = false;
  connection.back();
  assert.deepEqual(states, ["lost", "live"]);
  clock.run(1000);
  front.gone = true; // seen by the next probe
  clock.run(3000);
  assert.equal(connection.state(), "lost");
});

test("closed by the front end: lost without waiting", () => {
  const { clock, connection } = start();
  connection.asked();
  connection.gone();
  assert.equal(connection.state(), "lost");
  assert.equal(clock.waiting(), 0);
});

test("an answer brings it back, and what is still awaited is watched", () => {
  const { clock, states, connection } = start();
  connection.asked();
  clock.run(60_000);
  connection.heard(true);
  assert.equal(connection.state(), "live");
  clock.run(1000);
  assert.equal(connection.state(), "busy");
  connection.heard(false);
  clock.run(60_000);
  assert.deepEqual(states, ["busy", "lost", "live", "busy", "live"]);
});

test("asked again while it is lost, it is tried again", () => {
  const { clock, front, connection } = start();
  connection.asked();
  clock.run(60_000);
  const before = front.probes;
  connection.asked();
  assert.equal(connection.state(), "lost"); // until there is a sign
  clock.run(1000);
  assert.equal(front.probes, before + 1);
  connection.heard(false);
  assert.equal(connection.state(), "live");
});

test("nothing runs on after the view is closed", () => {
  const { clock, connection } = start();
  connection.asked();
  connection.read(connection.sent());
  connection.close();
  assert.equal(clock.waiting(), 0);
});

test("a job that is silent after it has begun is not lost", () => {
  const { clock, connection } = start();
  connection.asked();
  const question = connection.sent();
  clock.run(10);
  connection.heard(true); // it begins
  connection.read(question);
  clock.run(900);
  assert.equal(connection.state(), "live");
  clock.run(20_000);
  assert.equal(connection.state(), "busy");
});
