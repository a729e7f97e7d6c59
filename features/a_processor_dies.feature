@fault
Feature: A processor dies
  An instance dies under load. Users do not notice, and no accepted job is lost.

  Background:
    Given a system of 1 gateway and 3 processors
    And a load "frames" of 25/s for 9 s that reads frames of "short" and allows each 2 s
    And a load "clips" of 0.5/s for 6 s that submits clip jobs of "short" and allows each 10 s
    And a steady state of 2 s in which "frames.success >= 99%"

  Scenario: Killed and restarted
    When "kill" hits processor-2 at 3 s for 2 s
    And the scenario has run
    Then it holds that always "frames.success >= 99.9%"
    And it holds that during the fault "breaker(processor-2) opened within 2s"
    And the system recovers within 3 s
    And no accepted job is lost, doubled, unfinished or unplayable
    And the verdict is pass

  Scenario: A link goes down
    When "down" hits gateway-1->processor-1 at 3 s for 2 s
    And the scenario has run
    Then it holds that always "frames.success >= 99.9%"
    And the verdict is pass

  Scenario: An expectation that cannot hold fails the run
    When "kill" hits processor-2 at 3 s for 2 s
    And it is expected that always "frames.p99 <= 1us"
    And the scenario has run
    Then the verdict is fail
    And the exit code is 1
