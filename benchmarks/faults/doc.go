// Command faults kills, pauses and cuts off the real program while it works, and
// checks that nothing was lost and nothing stands twice.
//
// Every case has a broker, a database and a directory of its own, and sends the
// same events. Its instances are processes of the built binary; broker and engine
// are not part of them, so that they outlive a kill. What must hold at the end:
//
//   - the event ids under the view activity are those that were sent, each once;
//   - the alert ids in plumbline.alerts are those of `plumbline replay`; where they
//     stand twice in the topic the case says so, under the view each stands once;
//   - the fingerprint of the baselines is that of an undisturbed run.
//
// Where a case takes records away for good, what is left of them must come out, and
// the logs must speak of as many lost records as there are.
//
// make faults runs it and prints a table.
package main
