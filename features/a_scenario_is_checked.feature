@check
Feature: A scenario is checked
  An author learns of every mistake at once, each with its place and a remedy, before anything is started.

  Scenario: Five mistakes, five located problems
    Given the scenario file
      """
      version: 1
      name: broken
      sytem: { runtime: process }
      system: { runtime: embedded, service: { processors: 2 } }
      load:
        frames:
          arrivals: { rate: 10/s, for: 5s }
          steps: [ { get: /health } ]
      faults:
        - { name: a, at: 5parsecs, for: 2s, target: processor-9, inject: kil }
      expect:
        always: [ frame.success >= 99% ]
      """
    When it is checked
    Then 5 problems are found
    And a problem at 3:1 says "sytem", with the help "system"
    And a problem at 10:20 says "5parsecs", with the help "unit"
    And a problem at line 10 says "processor-9"
    And a problem at line 10 says "kil", with the help "kill"
    And a problem at line 12 says "frame", with the help "frames"
    And the exit code is 2

  Scenario: A sound scenario
    Given the scenario file
      """
      version: 1
      name: sound
      system: { runtime: embedded, service: { processors: 2 } }
      load:
        health:
          arrivals: { rate: 10/s, for: 5s }
          steps: [ { get: /health } ]
      expect:
        always: [ health.success >= 99% ]
      """
    When it is checked
    Then no problems are found
    And the exit code is 0

  Scenario: A fault that the runtime cannot inject is refused before anything starts
    Given the scenario file
      """
      version: 1
      name: impossible
      system: { runtime: embedded, service: { processors: 2 } }
      load:
        health:
          arrivals: { rate: 10/s, for: 5s }
          steps: [ { get: /health } ]
      faults:
        - { name: a, at: 2s, for: 1s, target: processor-1, inject: pause }
      expect:
        always: [ health.success >= 99% ]
      """
    When it is checked
    Then 1 problem is found
    And a problem at 9:62 says "pause", with the help "process"
    And the exit code is 2

  Scenario: The same seed gives the same plan
    Given the scenario file
      """
      version: 1
      name: drawn
      seed: 7
      system: { runtime: embedded, service: { processors: 3 } }
      load:
        health:
          arrivals: { rate: 10/s, for: 5s }
          steps: [ { get: /health } ]
      faults:
        - { name: a, at: 2s, for: 1s, target: one of processor-*, inject: kill }
      expect:
        always: [ health.success >= 99% ]
      """
    When it is planned twice
    Then both plans are the same
