-- Whether the functions of the other door are here, which keep compiled definitions.
select to_regclass('seriatim.series_plan') is not null
    and to_regprocedure('seriatim.plan_of(text, bigint, text)') is not null
