"""What became of the jobs of a sweep, kept in files."""

from fre_lightning.results.sweep_jobs import SweepJob, forget_jobs, read_jobs, record_job


def make(number, exit_code=0):
    return SweepJob(number, f"/sweep/{number}", ["seed=1", "tags=[ä]"], exit_code, False)


def test_jobs_come_back_as_they_were_in_the_order_of_the_sweep(tmp_path):
    jobs = [make(number, exit_code=number % 3) for number in range(12)]
    for job in reversed(jobs):
        record_job(tmp_path, job)
    assert read_jobs(tmp_path) == jobs


def test_a_job_that_ran_again_counts_once(tmp_path):
    record_job(tmp_path, make(1, exit_code=2))
    record_job(tmp_path, make(1))
    assert read_jobs(tmp_path) == [make(1)]


def test_an_earlier_sweep_is_forgotten(tmp_path):
    assert read_jobs(tmp_path) == []
    forget_jobs(tmp_path)
    record_job(tmp_path, make(0))
    forget_jobs(tmp_path)
    assert read_jobs(tmp_path) == []
